"""Lists a tar archive from standard input as Python's tarfile reads it, an entry a line."""

import sys
import tarfile

KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.LNKTYPE: "hard-link",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "character-device",
    tarfile.BLKTYPE: "block-device",
    tarfile.DIRTYPE: "directory",
    tarfile.FIFOTYPE: "fifo",
}
XATTR = "SCHILY.xattr."


def encoded(text):
    return text.encode("utf-8", "surrogateescape").hex()


with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
    for member in archive:
        content = archive.extractfile(member).read().hex() if member.isreg() else ""
        xattrs = sorted(
            f"{encoded(key.removeprefix(XATTR))}={encoded(value)}"
            for key, value in member.pax_headers.items()
            if key.startswith(XATTR)
        )
        is_device = member.ischr() or member.isblk()
        print(
            encoded(member.name),
            KINDS[member.type],
            encoded(member.linkname) if member.islnk() or member.issym() else "",
            f"{member.mode & 0o7777:o}",
            member.uid,
            member.gid,
            int(member.mtime // 1),
            f"{member.devmajor}:{member.devminor}" if is_device else "",
            content,
            ",".join(xattrs),
            sep=" ",
        )
