//! The process that answers calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::setsid;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid, chmod, chownat, fstat, open, removexattr, statx,
};
use rustix::io::Errno;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::thread::set_name;

use super::creation::{self, Making};
use super::people::{Id, People, Person};
use super::record::{self, Owner};
use super::serialise;
use super::target::{Home, Opened, Place, Target, handle_path};
use crate::sys::{self, Notification};

/// The id that stands for "as it is".
const SAME: u32 = u32::MAX;
const CAPABILITY: &str = "security.capability";

/// What a waiting call gets.
enum Answer {
    /// The kernel does it.
    Continue,
    /// It returns this.
    Value(i64),
    /// It returns a descriptor of this file; whether programs inherit it is the flags' matter.
    File(OwnedFd, u32),
}

/// Answers until no process is left that could ask.
///
/// # Errors
/// As the system calls of its start.
pub(super) fn keep(listener: OwnedFd) -> io::Result<()> {
    settle(&listener)?;
    let mut keeper = Keeper { home: Home::find()?, people: People::default() };
    loop {
        let mut polled = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let events = polled[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLIN) {
            // An error is that of a caller who is gone.
            if let Ok(call) = sys::receive_notification(listener.as_fd()) {
                keeper.serve(&listener, &call);
            }
        } else if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            return Ok(());
        }
    }
}

/// Leaves everything of lbuild's but the listener: terminal, output, directory.
fn settle(listener: &OwnedFd) -> io::Result<()> {
    let _ = set_name(c"lbuild-owners");
    setsid()?;
    rustix::process::chdir("/")?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    drop(null);
    sys::close_all_but(listener.as_raw_fd())
}

struct Keeper {
    home: Home,
    people: People,
}

impl Keeper {
    fn serve(&mut self, listener: &OwnedFd, call: &Notification) {
        let answer = self.answer(call);
        // Was it this caller, and not another one of its number, that was looked at?
        if sys::is_notification_valid(listener.as_fd(), call.id).is_err() {
            return;
        }
        let _ = match answer {
            Ok(Answer::Continue) => sys::continue_call(listener.as_fd(), call.id),
            Ok(Answer::Value(value)) => sys::answer_call(listener.as_fd(), call.id, value),
            Ok(Answer::File(file, flags)) => {
                let flags = OFlags::from_bits_retain(flags) & OFlags::CLOEXEC;
                let given = sys::answer_with_file(listener.as_fd(), call.id, file.as_fd(), flags.bits());
                // Such as that the caller has too many open: it must not wait for ever.
                given.or_else(|error| {
                    let errno = error.raw_os_error().unwrap_or(libc::EIO);
                    sys::fail_call(listener.as_fd(), call.id, errno)
                })
            }
            Err(errno) => sys::fail_call(listener.as_fd(), call.id, errno.raw_os_error()),
        };
    }

    fn answer(&mut self, call: &Notification) -> Result<Answer, Errno> {
        let target = Target { thread: call.thread };
        let args = call.arguments;
        let directory = args[0] as i32;
        match call.number {
            libc::SYS_fchown => self.change_open(target, directory, [args[1], args[2]]),
            libc::SYS_fchownat => {
                self.change_owner(target, directory, args[1], [args[2], args[3]], args[4] as i32)
            }
            libc::SYS_fstat => Ok(self.stat_open(target, directory, args[1])),
            libc::SYS_newfstatat => {
                Ok(self.stat(target, directory, args[1], args[2], args[3] as i32).unwrap_or(Answer::Continue))
            }
            libc::SYS_statx => Ok(self.statx(target, args).unwrap_or(Answer::Continue)),
            libc::SYS_mkdirat => self.make(target, directory, args[1], args[2] as u32, Making::Directory),
            libc::SYS_mknodat => self.make_node(target, directory, args[1], args[2] as u32),
            libc::SYS_symlinkat => self.make_link(target, args[0], args[1] as i32, args[2]),
            libc::SYS_openat => self.open(target, directory, args[1], args[2] as u32, args[3] as u32),
            libc::SYS_renameat | libc::SYS_renameat2 => {
                Ok(self.rename(target, (directory, args[1]), (args[2] as i32, args[3])))
            }
            number => match self.answer_old(target, number, args) {
                Some(answer) => answer,
                None => self.identity(target, number, args),
            },
        }
    }

    /// Calls that newer architectures do without; `None` for others.
    #[cfg(target_arch = "x86_64")]
    fn answer_old(&mut self, target: Target, number: i64, args: [u64; 6]) -> Option<Result<Answer, Errno>> {
        const HERE: i32 = libc::AT_FDCWD;
        let owner = [args[1], args[2]];
        Some(match number {
            libc::SYS_chown => self.change_owner(target, HERE, args[0], owner, 0),
            libc::SYS_lchown => self.change_owner(target, HERE, args[0], owner, libc::AT_SYMLINK_NOFOLLOW),
            libc::SYS_stat => Ok(self.stat(target, HERE, args[0], args[1], 0).unwrap_or(Answer::Continue)),
            libc::SYS_lstat => Ok(self
                .stat(target, HERE, args[0], args[1], libc::AT_SYMLINK_NOFOLLOW)
                .unwrap_or(Answer::Continue)),
            libc::SYS_mkdir => self.make(target, HERE, args[0], args[1] as u32, Making::Directory),
            libc::SYS_mknod => self.make_node(target, HERE, args[0], args[1] as u32),
            libc::SYS_symlink => self.make_link(target, args[0], HERE, args[1]),
            libc::SYS_open => self.open(target, HERE, args[0], args[1] as u32, args[2] as u32),
            libc::SYS_creat => {
                let flags = (libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u32;
                self.open(target, HERE, args[0], flags, args[1] as u32)
            }
            libc::SYS_rename => Ok(self.rename(target, (HERE, args[0]), (HERE, args[1]))),
            _ => return None,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn answer_old(&mut self, _: Target, _: i64, _: [u64; 6]) -> Option<Result<Answer, Errno>> {
        None
    }

    fn change_open(&mut self, target: Target, file: i32, owner: [u64; 2]) -> Result<Answer, Errno> {
        let opened = self.home.open_number(target, file)?;
        self.change(target, &opened, owner)
    }

    fn change_owner(
        &mut self,
        target: Target,
        directory: i32,
        path: u64,
        owner: [u64; 2],
        flags: i32,
    ) -> Result<Answer, Errno> {
        let path = target.path(path)?;
        if path.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
            return Err(Errno::NOENT);
        }
        let follows = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        let opened = self.home.open(target, directory, &path, follows)?;
        self.change(target, &opened, owner)
    }

    fn change(&mut self, target: Target, opened: &Opened, [uid, gid]: [u64; 2]) -> Result<Answer, Errno> {
        let stat = fstat(&opened.file)?;
        if !record::is_ours(&stat) {
            return Ok(Answer::Continue);
        }
        let before = record::read(opened, &stat).unwrap_or_default();
        let pick = |new: u64, old: u32| if new as u32 == SAME { old } else { new as u32 };
        let owner = Owner { uid: pick(uid, before.uid), gid: pick(gid, before.gid) };
        let person = self.people.of(target.thread);
        let may = person.is_root()
            || (before.uid == person.user.file_system
                && owner.uid == before.uid
                && (owner.gid == before.gid
                    || owner.gid == person.group.file_system
                    || person.groups.contains(&owner.gid)));
        if !may {
            return Err(Errno::PERM);
        }
        // As the kernel does, and on an overlay this brings the file up, whatever it is.
        let (root, group) = (Some(Uid::ROOT), Some(Gid::ROOT));
        chownat(&opened.file, "", root, group, AtFlags::EMPTY_PATH)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            drop_privileges(&opened.file, stat.st_mode)?;
        }
        record::write(opened, &stat, owner)?;
        Ok(Answer::Value(0))
    }

    /// Who cannot be told who owns a file is told by the kernel, with the right error.
    fn stat_open(&self, target: Target, file: i32, buffer: u64) -> Answer {
        let told = self.home.open_number(target, file).and_then(|opened| tell(target, &opened, buffer));
        told.unwrap_or(Answer::Continue)
    }

    fn stat(
        &self,
        target: Target,
        directory: i32,
        path: u64,
        buffer: u64,
        flags: i32,
    ) -> Result<Answer, Errno> {
        let opened = self.look_up(target, directory, path, flags)?;
        tell(target, &opened, buffer)
    }

    fn statx(&self, target: Target, args: [u64; 6]) -> Result<Answer, Errno> {
        let flags = args[2] as i32;
        let opened = self.look_up(target, args[0] as i32, args[1], flags)?;
        let stat = fstat(&opened.file)?;
        let Some(owner) = record::read(&opened, &stat).filter(|_| record::is_ours(&stat)) else {
            return Ok(Answer::Continue);
        };
        let sync = AtFlags::from_bits_retain(flags as u32) & AtFlags::STATX_DONT_SYNC;
        let mask = StatxFlags::from_bits_retain(args[3] as u32);
        let stat = statx(&opened.file, "", AtFlags::EMPTY_PATH | sync, mask)?;
        target.write(args[4], &serialise::statx(&stat, owner))?;
        Ok(Answer::Value(0))
    }

    fn look_up(&self, target: Target, directory: i32, path: u64, flags: i32) -> Result<Opened, Errno> {
        let path = if path == 0 { Vec::new() } else { target.path(path)? };
        if path.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
            return Err(Errno::NOENT);
        }
        self.home.open(target, directory, &path, flags & libc::AT_SYMLINK_NOFOLLOW == 0)
    }

    /// Whose the file is to be that the target makes there. `None` if it is plainly root's, who makes it itself.
    fn maker(&mut self, target: Target, place: &Place) -> Option<Person> {
        let person = self.people.of(target.thread);
        let is_root = person.user.file_system == 0 && person.group.file_system == 0;
        let inherits = || creation::handed_down(&place.directory).is_some_and(|group| group != 0);
        (!is_root || inherits()).then_some(person)
    }

    fn make(
        &mut self,
        target: Target,
        directory: i32,
        path: u64,
        mode: u32,
        making: Making,
    ) -> Result<Answer, Errno> {
        // Where there is no directory for it, the kernel says so.
        let Ok(place) = target.path(path).and_then(|path| self.home.open_place(target, directory, &path))
        else {
            return Ok(Answer::Continue);
        };
        let Some(person) = self.maker(target, &place) else { return Ok(Answer::Continue) };
        creation::make(target, place, making, mode, &person)?;
        Ok(Answer::Value(0))
    }

    fn make_node(&mut self, target: Target, directory: i32, path: u64, mode: u32) -> Result<Answer, Errno> {
        self.forget(target, directory, path);
        match FileType::from_raw_mode(mode) {
            FileType::Unknown => {
                self.make(target, directory, path, mode, Making::Node(FileType::RegularFile))
            }
            kind @ (FileType::RegularFile | FileType::Fifo | FileType::Socket) => {
                self.make(target, directory, path, mode, Making::Node(kind))
            }
            _ => Ok(Answer::Continue),
        }
    }

    fn make_link(
        &mut self,
        target: Target,
        content: u64,
        directory: i32,
        path: u64,
    ) -> Result<Answer, Errno> {
        self.forget(target, directory, path);
        let content = target.path(content)?;
        self.make(target, directory, path, 0, Making::Link(content))
    }

    /// What is noted of a name that is about to be another file's.
    fn forget(&self, target: Target, directory: i32, path: u64) {
        let place = target.path(path).and_then(|path| self.home.open_place(target, directory, &path));
        if let Ok(place) = place {
            let _ = record::forget(&place.directory, &place.name);
        }
    }

    fn open(
        &mut self,
        target: Target,
        directory: i32,
        path: u64,
        flags: u32,
        mode: u32,
    ) -> Result<Answer, Errno> {
        // Where there is no directory for it, the kernel says so.
        let Ok(place) = target.path(path).and_then(|path| self.home.open_place(target, directory, &path))
        else {
            return Ok(Answer::Continue);
        };
        let Some(person) = self.maker(target, &place) else { return Ok(Answer::Continue) };
        let made = creation::create(target, place, flags, mode, &person)?;
        Ok(made.map_or(Answer::Continue, |file| Answer::File(file, flags)))
    }

    fn rename(&self, target: Target, from: (i32, u64), to: (i32, u64)) -> Answer {
        let place =
            |(directory, path): (i32, u64)| self.home.open_place(target, directory, &target.path(path)?);
        if let (Ok(from), Ok(to)) = (place(from), place(to)) {
            let _ = record::moved((&from.directory, &from.name), Some((&to.directory, &to.name)));
        }
        Answer::Continue
    }

    fn identity(&mut self, target: Target, number: i64, args: [u64; 6]) -> Result<Answer, Errno> {
        let [first, second, third] = [args[0] as u32, args[1] as u32, args[2] as u32];
        let mut person = self.people.of(target.thread);
        let is_root = person.is_root();
        let mut value = 0;
        match number {
            libc::SYS_getuid => return Ok(Answer::Value(person.user.real.into())),
            libc::SYS_geteuid => return Ok(Answer::Value(person.user.effective.into())),
            libc::SYS_getgid => return Ok(Answer::Value(person.group.real.into())),
            libc::SYS_getegid => return Ok(Answer::Value(person.group.effective.into())),
            libc::SYS_getresuid => return tell_ids(target, args, person.user),
            libc::SYS_getresgid => return tell_ids(target, args, person.group),
            libc::SYS_getgroups => return tell_groups(target, args, &person),
            libc::SYS_setuid => person.user.set_all(first, is_root)?,
            libc::SYS_setgid => person.group.set_all(first, is_root)?,
            libc::SYS_setreuid => person.user.set_two(first, second, is_root)?,
            libc::SYS_setregid => person.group.set_two(first, second, is_root)?,
            libc::SYS_setresuid => person.user.set([first, second, third], is_root)?,
            libc::SYS_setresgid => person.group.set([first, second, third], is_root)?,
            libc::SYS_setfsuid => value = person.user.set_file_system(first, is_root),
            libc::SYS_setfsgid => value = person.group.set_file_system(first, is_root),
            libc::SYS_setgroups if !is_root => return Err(Errno::PERM),
            libc::SYS_setgroups if args[0] > 65536 => return Err(Errno::INVAL),
            libc::SYS_setgroups => person.groups = target.numbers(args[1], args[0] as usize)?,
            _ => return Ok(Answer::Continue),
        }
        self.people.set(target.thread, person);
        Ok(Answer::Value(value.into()))
    }
}

/// As a change of owner does.
fn drop_privileges(file: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
    let path = handle_path(file);
    if mode & 0o6000 != 0 {
        chmod(&path, Mode::from_raw_mode(mode & 0o1777))?;
    }
    match removexattr(&path, CAPABILITY) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        result => result,
    }
}

fn tell(target: Target, opened: &Opened, buffer: u64) -> Result<Answer, Errno> {
    let stat = fstat(&opened.file)?;
    match record::read(opened, &stat).filter(|_| record::is_ours(&stat)) {
        Some(owner) => {
            target.write(buffer, &serialise::stat(&stat, owner))?;
            Ok(Answer::Value(0))
        }
        None => Ok(Answer::Continue),
    }
}

fn tell_ids(target: Target, args: [u64; 6], id: Id) -> Result<Answer, Errno> {
    for (address, id) in args.into_iter().zip([id.real, id.effective, id.saved]) {
        target.write(address, &id.to_ne_bytes())?;
    }
    Ok(Answer::Value(0))
}

fn tell_groups(target: Target, args: [u64; 6], person: &Person) -> Result<Answer, Errno> {
    let (room, count) = (args[0] as i32, person.groups.len());
    if room < 0 || (room > 0 && (room as usize) < count) {
        return Err(Errno::INVAL);
    }
    if room > 0 && count > 0 {
        let bytes: Vec<u8> = person.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
        target.write(args[1], &bytes)?;
    }
    Ok(Answer::Value(count as i64))
}
