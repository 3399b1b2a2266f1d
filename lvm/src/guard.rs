//! What must hold before anything is created or written. Pure: facts in, a refusal or nothing out.

use std::path::PathBuf;

use crate::inventory::{Pool, PoolHealth, Volume, VolumeGroup};
use crate::units::Percent;

/// How full a pool may be for a snapshot or a new volume to be made in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Of its data chunks.
    pub data: Percent,
    /// Of its metadata blocks. Lower by default: running out of them is the worse accident.
    pub metadata: Percent,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { data: Percent::new(90), metadata: Percent::new(80) }
    }
}

/// How full a pool is and how it fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Share of data chunks in use.
    pub data: Percent,
    /// Share of metadata blocks in use.
    pub metadata: Percent,
    /// Its state.
    pub health: PoolHealth,
}

/// Why something was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pool's data or metadata is used up to the limit.
    #[error(
        "pool {pool}: {used} of its {what} is in use, the limit is {limit}; \
         extend the pool or remove volumes"
    )]
    PoolPastLimit {
        /// `VG/LV` of the pool.
        pool: String,
        /// `data` or `metadata`.
        what: &'static str,
        /// In use.
        used: Percent,
        /// The limit.
        limit: Percent,
    },
    /// The pool is in no state to be added to.
    #[error("pool {pool} {}", pool_state(*health))]
    PoolUnhealthy {
        /// `VG/LV` of the pool.
        pool: String,
        /// Its state.
        health: PoolHealth,
    },
    /// The volume group must not be used from here.
    #[error("volume group {group} {why}")]
    Group {
        /// Its name.
        group: String,
        /// `is exported`, ….
        why: String,
    },
    /// The volume is of a kind this cannot be done with.
    #[error("{volume} {why}")]
    Kind {
        /// `VG/LV`.
        volume: String,
        /// `is no thin volume`, ….
        why: &'static str,
    },
    /// The volume or device is in use.
    #[error("{volume} {why}")]
    InUse {
        /// `VG/LV` or a path.
        volume: String,
        /// `is open`, ….
        why: String,
    },
    /// The pool's metadata cannot be read now: there is another metadata snapshot of it.
    #[error("pool {pool} {why}")]
    MetadataHeld {
        /// `VG/LV` of the pool.
        pool: String,
        /// Whose, and what to do.
        why: String,
    },
    /// The volume or device is mounted.
    #[error("{volume} is mounted on {}", path.display())]
    Mounted {
        /// `VG/LV` or a path.
        volume: String,
        /// Where.
        path: PathBuf,
    },
    /// A restore to the volume did not come to its end, so its content is of no one moment.
    #[error("{volume} is half restored: job {job} was to write it and did not finish")]
    HalfRestored {
        /// `VG/LV`.
        volume: String,
        /// The restore's job.
        job: String,
    },
    /// The volume group has a volume of that name already.
    #[error("{volume} exists already")]
    NameTaken {
        /// `VG/LV`.
        volume: String,
    },
    /// How the filesystem must be mounted is not known.
    #[error("{volume}: {why}")]
    Filesystem {
        /// `VG/LV`.
        volume: String,
        /// What to do.
        why: String,
    },
}

fn pool_state(health: PoolHealth) -> &'static str {
    match health {
        PoolHealth::Ok => "is well",
        PoolHealth::Inactive => {
            "is not active, so how full it is cannot be known; activate it with lvchange -ay"
        }
        PoolHealth::NeedsCheck => {
            "needs a check: deactivate it and run lvconvert --repair, see lvmthin(7)"
        }
        PoolHealth::ReadOnly => "is read-only",
        PoolHealth::OutOfDataSpace => "has no free data space left; extend it",
        PoolHealth::Failed => "has failed; see lvmthin(7) on repair",
        PoolHealth::Unknown => {
            "is in a state this version does not know; see lvs -a -o+health_status"
        }
    }
}

/// Whether this host may change volumes in `group`. `local_system_id` is this host's, if it has one.
pub(crate) fn check_group(
    group: &VolumeGroup,
    local_system_id: Option<&str>,
) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::Group { group: group.name.to_string(), why: why.into() });
    if group.duplicate {
        refuse("exists twice on this host; give one of the two another name (vgrename by UUID)")
    } else if group.exported {
        refuse("is exported")
    } else if group.shared {
        refuse("is shared between hosts (lvmlockd or clustered), which is not supported")
    } else if !group.system_id.is_empty() && Some(group.system_id.as_str()) != local_system_id {
        refuse(&format!("belongs to the host with system id {:?}", group.system_id))
    } else if !group.missing_devices.is_empty() {
        refuse(&format!(
            "is partial: its devices {} are missing (on RHEL 9 a device must also be listed by \
             lvmdevices)",
            group.missing_devices.join(", ")
        ))
    } else if group.read_only {
        refuse("is read-only")
    } else {
        Ok(())
    }
}

/// Whether `pool`, used as `usage` says, may be added to: asked before a snapshot is made, and again
/// and again while it exists.
///
/// # Errors
/// The [`Refusal`] says which limit is reached, or what ails the pool.
pub fn check_pool(pool: &Pool, usage: &PoolUsage, limits: &PoolLimits) -> Result<(), Refusal> {
    if usage.health != PoolHealth::Ok {
        return Err(Refusal::PoolUnhealthy { pool: pool.alias(), health: usage.health });
    }
    let past = |what, used: Percent, limit: Percent| {
        (used >= limit).then(|| Refusal::PoolPastLimit { pool: pool.alias(), what, used, limit })
    };
    past("metadata", usage.metadata, limits.metadata)
        .or_else(|| past("data", usage.data, limits.data))
        .map_or(Ok(()), Err)
}

/// Whether a thin snapshot can be made of `origin`.
pub(crate) fn check_origin(origin: &Volume) -> Result<(), Refusal> {
    let refuse = |why| Err(Refusal::Kind { volume: origin.alias(), why });
    if !origin.is_thin() {
        refuse("is no thin volume; only thin volumes can be snapshotted without reserving space")
    } else if origin.merging {
        refuse("is being merged or converted")
    } else if let Some(job) = origin.restoring() {
        Err(Refusal::HalfRestored { volume: origin.alias(), job: job.to_owned() })
    } else {
        Ok(())
    }
}

/// Whether `target` may be overwritten.
pub(crate) fn check_target(target: &Volume) -> Result<(), Refusal> {
    let volume = target.alias();
    if let Some(mount) = target.mounts.first() {
        Err(Refusal::Mounted { volume, path: mount.path.clone() })
    } else if target.open {
        Err(Refusal::InUse { volume, why: "is open".into() })
    } else if target.read_only {
        Err(Refusal::Kind { volume, why: "is read-only" })
    } else if target.merging {
        Err(Refusal::Kind { volume, why: "is being merged or converted" })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{group, mounted, pool, thin};

    fn usage(data: u16, metadata: u16, health: PoolHealth) -> PoolUsage {
        PoolUsage { data: Percent::new(data), metadata: Percent::new(metadata), health }
    }

    #[test]
    fn an_ordinary_group_is_taken_and_every_odd_one_is_refused() {
        assert_eq!(check_group(&group(), None), Ok(()));
        let odd: [(&str, VolumeGroup); 6] = [
            ("exists twice", VolumeGroup { duplicate: true, ..group() }),
            ("exported", VolumeGroup { exported: true, ..group() }),
            ("shared", VolumeGroup { shared: true, ..group() }),
            ("PV-UUID", VolumeGroup { missing_devices: vec!["PV-UUID".into()], ..group() }),
            ("read-only", VolumeGroup { read_only: true, ..group() }),
            ("other", VolumeGroup { system_id: "other".into(), ..group() }),
        ];
        for (word, group) in odd {
            let refusal = check_group(&group, Some("mine")).unwrap_err().to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
    }

    #[test]
    fn a_group_with_a_system_id_belongs_to_the_host_with_that_id() {
        let theirs = VolumeGroup { system_id: "a".into(), ..group() };
        assert!(check_group(&theirs, Some("a")).is_ok());
        assert!(check_group(&theirs, Some("b")).is_err());
        assert!(check_group(&theirs, None).is_err());
    }

    #[test]
    fn a_pool_is_refused_from_the_limit_on() {
        let limits = PoolLimits { data: Percent::new(90), metadata: Percent::new(80) };
        let check = |data, metadata| {
            check_pool(&pool(), &usage(data, metadata, PoolHealth::Ok), &limits).map_err(
                |refusal| match refusal {
                    Refusal::PoolPastLimit { what, .. } => what,
                    other => panic!("{other}"),
                },
            )
        };
        assert_eq!(check(89, 79), Ok(()));
        assert_eq!(check(90, 0), Err("data"));
        assert_eq!(check(0, 80), Err("metadata"));
        assert_eq!(check(100, 100), Err("metadata"));
    }

    #[test]
    fn a_pool_that_is_not_well_is_refused_however_empty() {
        for health in [
            PoolHealth::Inactive,
            PoolHealth::NeedsCheck,
            PoolHealth::ReadOnly,
            PoolHealth::OutOfDataSpace,
            PoolHealth::Failed,
            PoolHealth::Unknown,
        ] {
            let refusal =
                check_pool(&pool(), &usage(1, 1, health), &PoolLimits::default()).unwrap_err();
            assert_eq!(refusal, Refusal::PoolUnhealthy { pool: "vg0/pool0".into(), health });
        }
    }

    #[test]
    fn only_thin_volumes_at_rest_are_origins() {
        assert!(check_origin(&thin("a", 'a')).is_ok());
        assert!(check_origin(&Volume { pool: None, ..thin("a", 'a') }).is_err());
        assert!(check_origin(&Volume { merging: true, ..thin("a", 'a') }).is_err());
        let half = Volume { tags: vec!["thinmover.restoring=job-1".into()], ..thin("a", 'a') };
        let refusal = check_origin(&half).unwrap_err();
        assert_eq!(refusal, Refusal::HalfRestored { volume: "vg0/a".into(), job: "job-1".into() });
        assert_eq!(check_target(&half), Ok(()), "a restore can be finished");
    }

    #[test]
    fn a_target_in_use_is_refused() {
        assert!(check_target(&thin("a", 'a')).is_ok());
        assert!(check_target(&Volume { active: true, ..thin("a", 'a') }).is_ok());
        let refusal = check_target(&mounted(thin("a", 'a'), "/mnt")).unwrap_err();
        assert_eq!(refusal, Refusal::Mounted { volume: "vg0/a".into(), path: "/mnt".into() });
        for volume in [
            Volume { open: true, ..thin("a", 'a') },
            Volume { read_only: true, ..thin("a", 'a') },
            Volume { merging: true, ..thin("a", 'a') },
        ] {
            assert!(check_target(&volume).is_err());
        }
    }

    #[test]
    fn refusals_name_what_they_are_about() {
        let full = usage(95, 1, PoolHealth::Ok);
        let text = check_pool(&pool(), &full, &PoolLimits::default()).unwrap_err().to_string();
        assert_eq!(
            text,
            "pool vg0/pool0: 95.00 % of its data is in use, the limit is 90.00 %; extend the pool \
             or remove volumes"
        );
    }
}
