//! Pools made up by chance, and the XML that `thin_restore` makes metadata from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Thin block → (data block, time).
pub(crate) type Mappings = BTreeMap<u64, (u64, u32)>;

/// What the tools print of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) mapped: u64,
    pub(crate) transaction: u64,
    pub(crate) creation_time: u32,
    pub(crate) snapshotted_time: u32,
    pub(crate) mappings: Mappings,
}

/// What the tools print of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) time: u32,
    pub(crate) transaction: u64,
    pub(crate) chunk_sectors: u32,
    pub(crate) data_blocks: u64,
    pub(crate) devices: BTreeMap<u32, Device>,
}

/// Numbers by chance, the same for the same seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

impl Pool {
    /// A pool in which volumes were written, snapshotted, written again and discarded.
    pub(crate) fn by_chance(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut pool = Self {
            transaction: chance.below(1 << 40),
            chunk_sectors: chance.one_of(&[128, 256, 384, 2048, 1 << 21]),
            ..Self::default()
        };
        let mut id = 0;
        for _ in 0..=chance.below(6) {
            id += 1 + chance.one_of(&[0_u32, 0, 3, 100_000]);
            let origins: Vec<u32> = pool.devices.keys().copied().collect();
            let mut device = Device::default();
            if !origins.is_empty() && chance.below(3) > 0 {
                let origin = chance.one_of(&origins);
                pool.time += 1;
                if let Some(origin) = pool.devices.get_mut(&origin) {
                    origin.snapshotted_time = pool.time;
                    device.mappings = origin.mappings.clone();
                }
            }
            device.transaction = chance.below(pool.transaction + 1);
            (device.creation_time, device.snapshotted_time) = (pool.time, pool.time);
            pool.devices.insert(id, device);
            let writes = chance.one_of(&[0, 1, 30, 30, 200]);
            for _ in 0..writes {
                pool.write(&mut chance);
            }
        }
        for device in pool.devices.values_mut() {
            device.mapped = device.mappings.len() as u64;
        }
        pool.data_blocks += chance.below(1000) + 1;
        pool
    }

    /// Writes or discards a range of some device.
    fn write(&mut self, chance: &mut Chance) {
        let ids: Vec<u32> = self.devices.keys().copied().collect();
        let Some(device) = self.devices.get_mut(&chance.one_of(&ids)) else { return };
        let start = match chance.below(4) {
            0 => chance.below(64),
            3 => chance.below(1 << 34),
            _ => chance.below(20_000),
        };
        let length = chance.one_of(&[1, 1, 2, 7, 100, 1000]);
        let is_discard = chance.below(4) == 0;
        let scattered = chance.below(4) == 0;
        for thin in start..start + length {
            if is_discard {
                device.mappings.remove(&thin);
                continue;
            }
            if scattered && chance.below(2) == 0 {
                continue;
            }
            let written = device.mappings.get(&thin).map(|&(_, time)| time);
            // In place, where no snapshot shares it.
            if written.is_none_or(|time| time < device.snapshotted_time) {
                device.mappings.insert(thin, (self.data_blocks, self.time));
                self.data_blocks += 1;
            }
        }
    }

    /// As `thin_restore` reads it.
    pub(crate) fn xml(&self) -> String {
        let Self { time, transaction, chunk_sectors, data_blocks, .. } = self;
        let mut xml = format!(
            "<superblock uuid=\"\" time=\"{time}\" transaction=\"{transaction}\" flags=\"0\" \
             version=\"2\" data_block_size=\"{chunk_sectors}\" nr_data_blocks=\"{data_blocks}\">\n"
        );
        for (id, device) in &self.devices {
            let Device { mapped, transaction, creation_time, snapshotted_time, .. } = device;
            let _ = writeln!(
                xml,
                "<device dev_id=\"{id}\" mapped_blocks=\"{mapped}\" transaction=\"{transaction}\" \
                 creation_time=\"{creation_time}\" snap_time=\"{snapshotted_time}\">"
            );
            for (thin, (data, time)) in &device.mappings {
                let _ = writeln!(
                    xml,
                    "<single_mapping origin_block=\"{thin}\" data_block=\"{data}\" time=\"{time}\"/>"
                );
            }
            xml.push_str("</device>\n");
        }
        xml + "</superblock>\n"
    }
}
