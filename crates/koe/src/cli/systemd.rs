//! What systemd is told and gives: that the server is ready, that it lives, and a socket that was
//! held for it. Nothing happens where there is no systemd.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::time::Duration;

#[cfg(unix)]
use sd_notify::NotifyState;

use crate::service::Service;
#[cfg(unix)]
use crate::service::State;

/// A chunk that takes longer than this is not slow: something hangs.
#[cfg(unix)]
const HUNG: Duration = Duration::from_secs(300);

/// The first socket that systemd passed on, if it passed any.
pub(super) fn listener() -> io::Result<Option<TcpListener>> {
    listenfd::ListenFd::from_env().take_tcp_listener(0)
}

/// There is no systemd here.
#[cfg(not(unix))]
pub(super) fn tell_ready(_service: &Service) {}

/// There is no systemd here.
#[cfg(not(unix))]
pub(super) async fn tell_stopping() {}

/// `READY=1`, a status line, and from now on a sign of life for as long as nothing hangs.
#[cfg(unix)]
pub(super) fn tell_ready(service: &Service) {
    let status = match service.state() {
        State::Ready(proof) => format!(
            "{} ready after {} ms",
            service.library().model_name(),
            proof.ready_after.as_millis()
        ),
        State::Starting(_) => return,
    };
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    // Zero means that there is none.
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let Some(limit) = limit else { return };
    let service = service.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(10)));
        loop {
            ticks.tick().await;
            match service.lanes().longest_loan() {
                Some(lent) if lent > HUNG => {
                    tracing::error!(seconds = lent.as_secs(), "a synthesis hangs");
                }
                // On a thread that may wait: systemd may be slow to read.
                _ => _ = tokio::task::spawn_blocking(|| tell(&[NotifyState::Watchdog])).await,
            }
        }
    });
}

/// `STOPPING=1`, at once. What comes back ends when that is told, or could not be.
#[cfg(unix)]
pub(super) fn tell_stopping() -> impl Future<Output = ()> {
    let states = [NotifyState::Stopping, NotifyState::Status("finishing what runs")];
    let telling = tokio::task::spawn_blocking(move || tell(&states));
    // A systemd that does not read must not hold up the end.
    async { _ = tokio::time::timeout(Duration::from_secs(1), telling).await }
}

#[cfg(unix)]
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
