//! What the service manager is told: sd_notify(3) and sd_watchdog_enabled(3).

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::journal;

/// Talks to the service manager named by `$NOTIFY_SOCKET`; says nothing where there is none. A
/// message that cannot be sent is a warning in the journal: systemd acts on its absence.
///
/// The variables stay in the environment, because removing one is not safe once there are threads.
/// Commands of LVM are run with an environment of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notifier {
    watchdog_period: Option<Duration>,
}

impl Notifier {
    /// Reads how often the service manager wants to hear of us.
    pub(crate) fn from_environment() -> Self {
        Self { watchdog_period: sd_notify::watchdog_enabled().and_then(period) }
    }

    /// We are up, or done with a reload.
    pub(crate) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub(crate) fn status(&self, text: &str) {
        // A line of its own would be a message of its own.
        tell(&[NotifyState::Status(&text.replace(char::is_control, " "))]);
    }

    /// We are reading the configuration again; [`ready`](Self::ready) ends it. The time lets systemd
    /// (from 253, `Type=notify-reload`) tell this reload from the one before.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => failed(&error),
        }
    }

    /// We are on our way out.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// How often to call [`feed_watchdog`](Self::feed_watchdog); `None` where nobody waits for it.
    pub(crate) fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog_period
    }

    /// We are alive and work goes on. Not to be called by a timer that knows nothing of the work.
    pub(crate) fn feed_watchdog(&self) {
        if self.watchdog_period.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

/// A third of the time after which systemd gives us up: two calls in a row may come late.
fn period(timeout: Duration) -> Option<Duration> {
    Some(timeout / 3).filter(|period| !period.is_zero())
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        failed(&error);
    }
}

fn failed(error: &io::Error) {
    journal::warn(format_args!("the service manager cannot be told: {error}"));
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::super::testing;
    use super::*;

    /// What one run of [`child`] says, message by message.
    fn told(environment: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let environment = format!("NOTIFY_SOCKET={} {environment}", path.display());
        testing::run_child(&environment, "daemon::notify::tests::child", Command::new("sh"));
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| {
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        })
        .collect()
    }

    #[test]
    #[ignore = "run by the other tests, in an environment of its own"]
    fn child() {
        let notifier = Notifier::from_environment();
        notifier.ready();
        notifier.status("idle\nREADY=1");
        notifier.reloading();
        notifier.feed_watchdog();
        notifier.status(&format!("{:?}", notifier.watchdog_period()));
        notifier.stopping();
    }

    #[test]
    fn the_service_manager_is_told_each_state_in_its_words() {
        let told = told("WATCHDOG_USEC=30000000 WATCHDOG_PID=$$");
        let (reloading, mut others) = (told[2].clone(), told);
        others.remove(2);
        assert_eq!(
            others,
            [
                "READY=1\n",
                "STATUS=idle READY=1\n",
                "WATCHDOG=1\n",
                "STATUS=Some(10s)\n",
                "STOPPING=1\n"
            ]
        );
        let clock = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(clock.trim_end().parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn only_a_watchdog_that_waits_for_us_is_fed() {
        for environment in
            ["", "WATCHDOG_USEC=30000000 WATCHDOG_PID=1", "WATCHDOG_USEC=0", "WATCHDOG_USEC=x"]
        {
            let told = told(environment);
            assert!(!told.contains(&"WATCHDOG=1\n".to_owned()), "{environment}: {told:?}");
            assert!(told.contains(&"STATUS=None\n".to_owned()), "{environment}: {told:?}");
        }
        assert!(told("WATCHDOG_USEC=3000000").contains(&"STATUS=Some(1s)\n".to_owned()));
    }

    #[test]
    fn without_a_service_manager_nothing_is_said_and_nothing_fails() {
        testing::run_child("", "daemon::notify::tests::child", Command::new("sh"));
        let gone = "NOTIFY_SOCKET=/nonexistent/notify";
        testing::run_child(gone, "daemon::notify::tests::child", Command::new("sh"));
    }
}
