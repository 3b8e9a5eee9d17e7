//! Which calls the keeper is asked about.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_USER_NOTIF, sock_filter,
};

// Offsets in `struct seccomp_data`, of little-endian machines.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Source: linux/audit.h
const NATIVE: u32 = if cfg!(target_arch = "aarch64") { 0xc000_00b7 } else { 0xc000_003e };

/// Asked about whatever their arguments are.
const ALWAYS: &[i64] = &[
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_renameat2,
    libc::SYS_renameat,
];

/// As [`ALWAYS`]: calls that newer architectures do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_symlink,
    libc::SYS_creat,
    libc::SYS_rename,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// Asked about where the flags, the argument of this number, have `O_CREAT`.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(i64, u32)] = &[(libc::SYS_openat, 2), (libc::SYS_open, 1)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(i64, u32)] = &[(libc::SYS_openat, 2)];

/// Calls through another architecture's table are not asked about: a 32-bit program sees the kernel's
/// owners.
pub(super) fn program() -> Vec<sock_filter> {
    let mut program = vec![load(ARCH), jump(BPF_JEQ, NATIVE, 1, 0), finish(SECCOMP_RET_ALLOW), load(NUMBER)];
    for number in ALWAYS.iter().chain(OLD) {
        program.push(jump(BPF_JEQ, *number as u32, 0, 1));
        program.push(finish(SECCOMP_RET_USER_NOTIF));
    }
    for (number, argument) in OPENING {
        program.push(jump(BPF_JEQ, *number as u32, 0, 4));
        program.push(load(ARGUMENTS + 8 * argument));
        program.push(jump(BPF_JSET, libc::O_CREAT as u32, 0, 1));
        program.push(finish(SECCOMP_RET_USER_NOTIF));
        program.push(finish(SECCOMP_RET_ALLOW));
    }
    program.push(finish(SECCOMP_RET_ALLOW));
    program
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(test: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt, jf, k }
}

fn finish(action: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: action }
}
