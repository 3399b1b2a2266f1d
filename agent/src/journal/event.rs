//! The events worth alerting on, each with an id that stays the same for good.

use log::Level;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $level:ident;)+) => {
        /// Something that happened to the agent or one of its jobs. `systemd/thinmover.catalog`
        /// explains each to an operator (`journalctl --catalog`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Event {
            $($(#[$doc])* $name,)+
        }

        impl Event {
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            /// MESSAGE_ID of systemd.journal-fields(7): 128 bits in hexadecimal, random, never
            /// changed and never given to another event.
            pub(super) fn message_id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }

            /// How urgent it is; in the journal `err`, `warning` or `notice`.
            pub(super) fn level(self) -> Level {
                match self {
                    $(Self::$name => Level::$level,)+
                }
            }
        }
    };
}

events! {
    /// The agent is up and answers.
    AgentStarted = "b96c97c189664d5a8e6fbd652659e234", Info;
    /// The agent was asked to end; jobs are canceled first.
    AgentStopping = "49ca7a7805ab4d36b21fba4673143c9d", Info;
    /// The configuration was read again and is in force.
    ConfigReloaded = "f1138eb5ba8c4d2881a5db8177592b0f", Info;
    /// The configuration was read again and has a mistake; the old one stays in force.
    ConfigRefused = "f2a24f9450d6469cab7af05548437fd0", Error;
    /// A job began its work.
    JobStarted = "047f779de41a4414b557b318c03799e9", Info;
    /// A job did all it was asked.
    JobCompleted = "df651adfac1b4cc1977d23fa39d55a7b", Info;
    /// A job did what it was asked, and there is something to look at.
    JobCompletedWithWarnings = "f780c4addebf4bad98cd4f58ee06a6c8", Warn;
    /// A job ended without doing what it was asked.
    JobFailed = "030b5520a9a24a6f8d8287098e736962", Error;
    /// A job ended because somebody asked it to.
    JobCanceled = "5b05df16dc484493b6b7c114f39a4669", Info;
    /// A job was found dead: its process was killed or the power went.
    JobInterrupted = "d235f83fbd2b46aea41f1f71de4c347d", Error;
    /// A job was refused or ended because a thin pool is past its limit.
    PoolLimit = "585598d93dca4a669edbf3edd3a09f74", Warn;
    /// Something that a dead process left on the host was put back.
    RecoveryDone = "ef6d078187a8497393fbc1621e03f7cc", Info;
    /// Something that a dead process left on the host could not be put back.
    RecoveryLeft = "1a1d00dc1b02444abee21530dfa92d5b", Error;
    /// A caller of the socket asked for what it has no right to.
    AccessDenied = "8c222ac417694eebbef49d6819db1c6f", Warn;
    /// The pool's metadata contradicts the last backup of a volume, or its content does.
    BaseContradicted = "4f7fcd6c865647608563a538ea4d3aa9", Error;
    /// A backup was deleted because somebody asked for it.
    BackupDeleted = "379857c0518f4916bbd230fe01233339", Info;
    /// A backup was held: it is not deleted any more.
    BackupHeld = "b5bbcda8904b4928af1b7d75890b0be8", Info;
    /// The hold on a backup was lifted: it may be deleted again.
    BackupUnheld = "2fd2963519914fddb9a8a32a2a75e07b", Info;
}
