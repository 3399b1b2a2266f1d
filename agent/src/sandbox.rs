//! What the service's sandbox keeps from the agent, told in systemd's words: the kernel's error does
//! not say that an option of the unit stands in the way.

use std::env;
use std::io;
use std::sync::OnceLock;

use nix::errno::Errno;

use crate::failure::{Code, Failure};

const HINT: &str = "if the host itself can write there, the service's sandbox is in the way (ProtectSystem= in \
     thinmover.service keeps /usr, /boot and /etc read-only): use another place, or allow this one \
     by ReadWritePaths=FOLDER under [Service] in `systemctl edit thinmover.service`, then \
     `systemctl restart thinmover.service`";

/// Set in the agent that a service manager has started.
static IN_SERVICE: OnceLock<()> = OnceLock::new();

/// To be called once at the agent's start: from then on errors are explained if it is a service,
/// which shows by `$NOTIFY_SOCKET` (sd_notify(3)).
pub(crate) fn note_service() {
    if env::var_os("NOTIFY_SOCKET").is_some() {
        // A second call changes nothing.
        let _ = IN_SERVICE.set(());
    }
}

/// Adds to a failure that `cause` led to which option of the unit may be behind it.
pub(crate) fn explain(failure: Failure, cause: Option<&io::Error>) -> Failure {
    explain_in(IN_SERVICE.get().is_some(), failure, cause)
}

fn explain_in(service: bool, failure: Failure, cause: Option<&io::Error>) -> Failure {
    let errno = cause.and_then(io::Error::raw_os_error).map(Errno::from_raw);
    if service && errno == Some(Errno::EROFS) {
        Failure { code: Code::PermissionDenied, ..failure }.hint(HINT)
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_service_that_may_not_write_is_told_of_its_sandbox() {
        let before = Failure::new(Code::Failed, "create /usr/image").hint("run as root");
        let explained = |service, errno: Errno| {
            explain_in(service, before.clone(), Some(&io::Error::from(errno)))
        };
        let told = explained(true, Errno::EROFS);
        assert_eq!(
            (told.code, told.message.as_str()),
            (Code::PermissionDenied, "create /usr/image")
        );
        for part in ["ProtectSystem=", "ReadWritePaths=", "systemctl edit thinmover.service"] {
            assert!(told.hint.as_ref().unwrap().contains(part), "{told:?}");
        }
        assert_eq!(explained(false, Errno::EROFS), before);
        assert_eq!(explained(true, Errno::EACCES), before);
        assert_eq!(explain_in(true, before.clone(), None), before);
    }
}
