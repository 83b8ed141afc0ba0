//! Gets one file from a hub, whatever the network does, or says why it cannot be had.
//!
//! Every try continues where the last one stopped. Tries that bring the download further cost
//! nothing; a few in a row that do not end it. That the parts belong together need not be
//! believed: the checksum of the whole decides, and if it is wrong and some of the bytes were
//! inherited from an earlier pull, the download starts once more from nothing.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::header;

use super::disk::{Folder, Partial};
use super::hub::{Answer, Client, Failure, retry_after};
use super::release::Size;
use super::{Error, Event, Item, Patience, Release};

/// What a try must bring to count as progress.
const PROGRESS_BYTES: u64 = 64 << 10;
/// A connection that brings less than this in a [`Patience::stall`] has stalled.
const TRICKLE_BYTES: u64 = 4 << 10;

pub(super) struct Download<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) release: &'a Release,
    pub(super) item: &'a Item,
    pub(super) patience: &'a Patience,
    pub(super) progress: &'a mut dyn FnMut(Event<'_>),
}

/// How a try ended.
enum Try {
    /// All of it is there, as far as the server says.
    Complete,
    /// It may go better next time, perhaps after the time that the server named.
    Again(String, Option<Duration>),
}

impl Download<'_> {
    /// The length of the file, which lies whole and proven in the folder's `.partial` then.
    pub(super) fn run(mut self, folder: &Folder) -> Result<u64, Error> {
        let mut partial = folder.partial(self.item)?;
        while !partial.is_whole(self.item) {
            let inherited = partial.has_inherited();
            self.receive_all(&mut partial)?;
            match partial.settle(self.item) {
                Err(Error::WrongContent { .. }) if inherited => partial.restart()?,
                Err(error) => {
                    partial.discard();
                    return Err(error);
                }
                Ok(_) => {}
            }
        }
        partial.settle(self.item)
    }

    fn receive_all(&mut self, partial: &mut Partial) -> Result<(), Error> {
        let (mut n_vain, mut most_bytes) = (0, partial.n_bytes());
        loop {
            let (why, wait) = match self.receive(partial) {
                Ok(Try::Complete) => return Ok(()),
                Ok(Try::Again(why, wait)) => (why, wait),
                Err(Failure::Passing(why)) => (why, None),
                Err(Failure::Final(error)) => return Err(error),
            };
            // Measured by the most there ever was: a server that starts over and over is no help.
            if partial.n_bytes() >= most_bytes + PROGRESS_BYTES {
                (n_vain, most_bytes) = (0, partial.n_bytes());
            }
            n_vain += 1;
            let path = &self.item.path;
            if n_vain >= self.patience.tries {
                return Err(Error::GaveUp { path: path.clone(), tries: n_vain, why });
            }
            let backoff = self.patience.backoff * 2u32.pow((n_vain - 1).min(4));
            let wait = wait.unwrap_or(backoff);
            (self.progress)(Event::Retry { path, why: &why, wait });
            #[expect(clippy::disallowed_methods, reason = "there is no event to wait for")]
            std::thread::sleep(wait);
        }
    }

    fn receive(&mut self, partial: &mut Partial) -> Result<Try, Failure> {
        if self.item.size == Size::Exactly(partial.n_bytes()) {
            return Ok(Try::Complete);
        }
        let offset = partial.n_bytes();
        let etag = partial.etag().filter(|_| offset > 0);
        let answer = self.client.get(self.release, self.item, offset, etag.as_deref())?;
        let total = match answer.status {
            200 => {
                // The server does not continue, or has something else now.
                if offset > 0 {
                    partial.restart().map_err(Failure::Final)?;
                }
                answer.number(header::CONTENT_LENGTH)
            }
            206 => match answer.range() {
                Some((start, total)) if start == offset => total,
                // An answer to another question cannot be put to what is there.
                _ => {
                    partial.restart().map_err(Failure::Final)?;
                    return Ok(Try::Again(format!("{} sent another part", answer.host), None));
                }
            },
            // There is nothing beyond what is there: it is whole, or it is something else.
            416 if offset > 0 => {
                if answer.range().is_some_and(|(_, total)| total == Some(offset)) {
                    return Ok(Try::Complete);
                }
                partial.restart().map_err(Failure::Final)?;
                return Ok(Try::Again(format!("{} has no such part", answer.host), None));
            }
            _ => return self.refusal(&answer),
        };
        if let Some(total) = total.filter(|&total| !self.item.size.allows(total)) {
            return Err(Failure::Final(Error::WrongLength {
                path: self.item.path.clone(),
                host: answer.host,
                found: total,
                needed: self.item.size.most(),
            }));
        }
        // Where the connection's end is the body's, only the published length tells a cut.
        let total = total.or(match self.item.size {
            Size::Exactly(bytes) => Some(bytes),
            Size::AtMost(_) => None,
        });
        let etag = answer.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        partial.set_etag(etag);
        self.read_body(partial, answer, total)
    }

    fn read_body(
        &mut self,
        partial: &mut Partial,
        answer: Answer,
        total: Option<u64>,
    ) -> Result<Try, Failure> {
        let Answer { body, host, .. } = answer;
        let mut body = body.into_reader();
        let mut piece = vec![0; 64 << 10];
        // Of the stretch of time in which something must come.
        let (mut since, mut n_since) = (Instant::now(), partial.n_bytes());
        loop {
            let n = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Ok(Try::Again(format!("{host}: {error}"), None)),
            };
            match partial.write(&piece[..n]) {
                Ok(()) => {}
                Err(Error::TooLong { limit }) => {
                    return Err(Failure::Final(Error::WrongLength {
                        path: self.item.path.clone(),
                        host,
                        found: limit + 1,
                        needed: limit,
                    }));
                }
                Err(error) => return Err(Failure::Final(error)),
            }
            let (path, done) = (&self.item.path, partial.n_bytes());
            (self.progress)(Event::Received { path, done, total });
            if since.elapsed() >= self.patience.stall {
                if done < n_since + TRICKLE_BYTES {
                    return Ok(Try::Again(format!("{host} is too slow"), None));
                }
                (since, n_since) = (Instant::now(), done);
            }
        }
        match total {
            Some(total) if partial.n_bytes() < total => {
                Ok(Try::Again(format!("{host} ended early"), None))
            }
            _ => Ok(Try::Complete),
        }
    }

    fn refusal(&self, answer: &Answer) -> Result<Try, Failure> {
        let (host, status) = (&answer.host, answer.status);
        if matches!(status, 408 | 429 | 500..=599) {
            let why = match status {
                429 => format!("{host} asks for fewer requests (429)"),
                _ => format!("{host} is in trouble ({status})"),
            };
            return Ok(Try::Again(why, retry_after(&answer.headers)));
        }
        let what = match status {
            401 | 403 => "refuses access: check HF_TOKEN, or unset it".to_owned(),
            404 | 410 => format!(
                "has no {} of {} at revision {}: check HF_ENDPOINT",
                self.item.path, self.release.repository, self.release.revision
            ),
            _ => "answers what koe does not understand".to_owned(),
        };
        let what = format!("{what} (status {status})");
        Err(Failure::Final(Error::Refused { host: host.clone(), what }))
    }
}

impl Answer {
    fn number(&self, name: header::HeaderName) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.trim().parse().ok()
    }

    /// First byte and length of the whole: `bytes 5-9/10`, or `bytes */10` where there is no part.
    fn range(&self) -> Option<(u64, Option<u64>)> {
        let range = self.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (part, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        let start = match part {
            "*" => 0,
            part => part.split_once('-')?.0.parse().ok()?,
        };
        Some((start, total))
    }
}
