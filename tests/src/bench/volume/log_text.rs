//! Text like the logs of an edge host: a few programs that say the same things about other numbers.

use std::io::Write;

use super::random::Random;

/// What one program logs about: drawn once for a text, so that it returns in it as in real logs.
struct Subjects {
    pods: Vec<String>,
    devices: Vec<String>,
    addresses: Vec<String>,
}

/// A text that goes on; no line is like another.
pub(super) struct LogText {
    random: Random,
    subjects: Subjects,
    /// Microseconds since midnight of the day.
    clock: u64,
    day: u64,
    sequence: u64,
}

impl LogText {
    /// The text of the `number`-th day.
    pub(super) fn new(mut random: Random, number: u64) -> Self {
        let subjects = Subjects {
            pods: (0..12)
                .map(|_| {
                    let app = random.pick(&["ingest", "gateway", "vision", "historian", "router"]);
                    format!("{app}-{:08x}-{:05x}", random.below(1 << 32), random.below(1 << 20))
                })
                .collect(),
            devices: (0..40)
                .map(|_| {
                    let kind = random.pick(&["press", "oven", "belt", "camera", "pump"]);
                    format!("{kind}-{:02}", random.below(100))
                })
                .collect(),
            addresses: (0..25)
                .map(|_| format!("10.42.{}.{}", random.below(4), random.below(256)))
                .collect(),
        };
        let sequence = number * 1_000_000;
        Self { random, subjects, clock: 0, day: number, sequence }
    }

    /// Fills `bytes`; the last line is cut off.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        let mut text = Vec::with_capacity(bytes.len() + 1024);
        while text.len() < bytes.len() {
            self.clock += 200 + self.random.below(40_000) as u64;
            self.sequence += 1;
            // Writing to a vector does not fail.
            let _ = match self.random.below(20) {
                0..7 => self.measurement(&mut text),
                7..13 => self.request(&mut text),
                13..17 => self.container(&mut text),
                _ => self.kernel(&mut text),
            };
        }
        bytes.copy_from_slice(&text[..bytes.len()]);
    }

    fn measurement(&mut self, text: &mut Vec<u8>) -> std::io::Result<()> {
        let (time, sequence) = (self.time(), self.sequence);
        let random = &mut self.random;
        let device = &self.subjects.devices[random.below(self.subjects.devices.len())];
        let quality = random.pick(&["good", "good", "good", "good", "uncertain", "bad"]);
        let (whole, thousandths) = (random.below(60) + 20, random.below(1000));
        writeln!(
            text,
            "{{\"time\":\"{time}Z\",\"level\":\"info\",\"logger\":\"ingest.sampler\",\"msg\":\"sample stored\",\
             \"device\":\"{device}\",\"channel\":{},\"seq\":{sequence},\"value\":{whole}.{thousandths:03},\
             \"quality\":\"{quality}\",\"queue\":{},\"latencyMillis\":{},\"trace\":\"{:012x}\"}}",
            random.below(8),
            random.below(30),
            random.below(90),
            random.below(1 << 48),
        )
    }

    fn request(&mut self, text: &mut Vec<u8>) -> std::io::Result<()> {
        let time = self.time();
        let random = &mut self.random;
        let address = &self.subjects.addresses[random.below(self.subjects.addresses.len())];
        let device = &self.subjects.devices[random.below(self.subjects.devices.len())];
        let status = random.pick(&["200", "200", "200", "200", "200", "304", "404", "500"]);
        writeln!(
            text,
            "{address} - - [{time}] \"GET /api/v1/devices/{device}/samples?channel={}&limit=500 HTTP/1.1\" \
             {status} {} \"-\" \"edge-dashboard/2.8.1 (linux; x86_64)\" rt=0.{:03} id={:016x}",
            random.below(8),
            random.below(60_000),
            random.below(1000),
            random.number(),
        )
    }

    fn container(&mut self, text: &mut Vec<u8>) -> std::io::Result<()> {
        let time = self.time();
        let random = &mut self.random;
        let pod = &self.subjects.pods[random.below(self.subjects.pods.len())];
        let message = random.pick(&[
            "\"SyncLoop (PLEG): event for pod\"",
            "\"Probe succeeded\" probeType=\"Liveness\"",
            "\"Probe succeeded\" probeType=\"Readiness\"",
            "\"operationExecutor.VerifyControllerAttachedVolume started for volume\"",
            "\"Observed pod startup duration\"",
        ]);
        writeln!(
            text,
            "{time} edge-0417 kubelet[1893]: I {:>7} kubelet.go:{}] {message} pod=\"factory/{pod}\" \
             containerName=\"main\" duration=\"{}.{:06}ms\"",
            self.sequence % 10_000_000,
            2000 + random.below(12) * 37,
            random.below(40),
            random.below(1_000_000),
        )
    }

    fn kernel(&mut self, text: &mut Vec<u8>) -> std::io::Result<()> {
        let time = self.time();
        let random = &mut self.random;
        let address = &self.subjects.addresses[random.below(self.subjects.addresses.len())];
        let action = random.pick(&["accept", "accept", "drop", "reject"]);
        writeln!(
            text,
            "{time} edge-0417 kernel: nft {action} IN=eno1 OUT= SRC={address} DST=10.42.0.17 LEN={} TOS=0x00 \
             PREC=0x00 TTL=64 ID={} DF PROTO=TCP SPT={} DPT={} WINDOW=64240 RES=0x00 SYN URGP=0",
            40 + random.below(1400),
            random.below(65_536),
            32_768 + random.below(28_000),
            random.pick(&["443", "6443", "8080", "4840", "1883"]),
        )
    }

    fn time(&self) -> String {
        let seconds = self.clock / 1_000_000;
        format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
            self.day / 28 % 12 + 1,
            self.day % 28 + 1,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            self.clock % 1_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn text() -> Vec<u8> {
        let mut bytes = vec![0; 2 << 20];
        LogText::new(Random::new(1, "text", 5), 5).fill(&mut bytes);
        bytes
    }

    #[test]
    fn it_compresses_like_logs() {
        let text = text();
        let compressed: usize =
            text.chunks(256 << 10).map(|block| zstd::bulk::compress(block, 1).unwrap().len()).sum();
        let ratio = text.len() as f64 / compressed as f64;
        assert!((5.0..8.0).contains(&ratio), "{ratio:.2}");
    }

    #[test]
    fn no_line_is_like_another() {
        let text = String::from_utf8(text()).unwrap();
        let mut seen = HashSet::new();
        assert!(text.lines().all(|line| seen.insert(line)));
        assert!(seen.len() > 5_000, "{}", seen.len());
    }
}
