//! What comes out of a run: two streams and a report.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::cancel::Cancel;
use crate::launch::Supervisor;
use crate::run::Stream;
use crate::wire::Report;

/// As much as a pipe holds by default, in bytes.
const BUFFER: usize = 64 * 1024;

/// The ends of the pipes that the supervisor writes to.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: OwnedFd,
}

/// The ends that are read.
#[derive(Debug)]
pub(crate) struct Output {
    streams: [(Stream, Option<File>); 2],
    report: File,
    /// What came through `report`.
    reported: Vec<u8>,
    buffer: Vec<u8>,
}

impl Output {
    /// # Errors
    /// As pipe(2).
    pub(crate) fn pipes() -> io::Result<(Outlets, Self)> {
        let (stdout, stdout_outlet) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_outlet) = pipe_with(PipeFlags::CLOEXEC)?;
        let (report, report_outlet) = pipe_with(PipeFlags::CLOEXEC)?;
        for pipe in [&stdout, &stderr] {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        let outlets = Outlets { stdout: stdout_outlet, stderr: stderr_outlet, report: report_outlet };
        let streams = [(Stream::Stdout, Some(stdout.into())), (Stream::Stderr, Some(stderr.into()))];
        let output = Self { streams, report: report.into(), reported: Vec::new(), buffer: vec![0; BUFFER] };
        Ok((outlets, output))
    }

    /// Passes on the streams until the run ends, and returns whether that was because of `cancel`.
    ///
    /// The run ends when nobody can report any more; whoever still holds the streams then is no
    /// process of the run.
    ///
    /// # Errors
    /// As poll(2) and read(2).
    pub(crate) fn pump(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
        supervisor: &Supervisor,
    ) -> io::Result<bool> {
        let mut was_cancelled = false;
        loop {
            let (reported, cancelled) = self.poll((!was_cancelled).then_some(cancel))?;
            if cancelled {
                was_cancelled = true;
                supervisor.end();
            }
            let has_ended = reported && self.read_report()?;
            for index in 0..self.streams.len() {
                while self.read_stream(index, output)? && has_ended {}
            }
            if has_ended {
                return Ok(was_cancelled);
            }
        }
    }

    /// What was reported first.
    ///
    /// # Errors
    /// `UnexpectedEof` if nothing was: the supervisor was killed.
    pub(crate) fn report(&self) -> io::Result<Report> {
        let mut reports = serde_json::Deserializer::from_slice(&self.reported).into_iter();
        Ok(reports.next().ok_or(io::ErrorKind::UnexpectedEof)??)
    }

    /// Waits until there is something to read, and returns whether it is a report, and whether
    /// `cancel` is cancelled.
    fn poll(&self, cancel: Option<&Cancel>) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(&self.report, PollFlags::IN)];
        fds.extend(cancel.map(|cancel| PollFd::new(cancel, PollFlags::IN)));
        let open = self.streams.iter().filter_map(|(_, pipe)| pipe.as_ref());
        fds.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        while let Err(error) = poll(&mut fds, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        Ok((!fds[0].revents().is_empty(), cancel.is_some() && !fds[1].revents().is_empty()))
    }

    /// Returns whether that was the last report.
    fn read_report(&mut self) -> io::Result<bool> {
        let length = retry(|| self.report.read(&mut self.buffer))?;
        self.reported.extend_from_slice(&self.buffer[..length]);
        Ok(length == 0)
    }

    /// Reads once from a stream, and returns whether there may be more at once.
    fn read_stream(&mut self, index: usize, output: &mut dyn FnMut(Stream, &[u8])) -> io::Result<bool> {
        let (stream, pipe) = &mut self.streams[index];
        let Some(file) = pipe else { return Ok(false) };
        match retry(|| file.read(&mut self.buffer)) {
            Ok(0) => {
                *pipe = None;
                Ok(false)
            }
            Ok(length) => {
                output(*stream, &self.buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
