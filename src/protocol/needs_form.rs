//! The byte form of a task's requirements in this program's journal. Each entry is a tag, a length
//! (four bytes, little-endian), and that many bytes.

use crate::affinity::Affinity;
use crate::needs::{Amount, Needs, NodeNeeds, Routing};

const CORES: u8 = 1;
const MEMORY_MB: u8 = 2;
const RUNNING_TIME_S: u8 = 3;
const AFFINITY: u8 = 4;
const TASK_TYPE: u8 = 5;
const ROUTING: u8 = 6;
const HOSTNAME: u8 = 7;
const BLOCK_ID: u8 = 8;
const CPU_COUNT: u8 = 9;
const TOTAL_MEMORY_MB: u8 = 10;

impl Needs {
    /// Encodes the requirements for [`Self::of_bytes`]. `affinity` is the affinity if it was moved
    /// out of the requirements.
    pub fn to_bytes(&self, affinity: Option<&Affinity>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend((bytes.len() as u32).to_le_bytes());
            out.extend(bytes);
        };
        let node = self.node.as_deref();
        for (tag, amount) in [
            (CORES, self.cores),
            (MEMORY_MB, self.memory_mb),
            (RUNNING_TIME_S, self.running_time_s),
            (CPU_COUNT, node.and_then(|node| node.cpu_count)),
            (TOTAL_MEMORY_MB, node.and_then(|node| node.total_memory_mb)),
        ] {
            if let Some(amount) = amount {
                put(tag, &amount.to_bits().to_le_bytes());
            }
        }
        if let Some(affinity) = affinity.or(self.affinity.as_ref()) {
            put(AFFINITY, affinity.form());
        }
        if let Some(task_type) = &self.task_type {
            put(TASK_TYPE, task_type.as_bytes());
        }
        if let Some(routing) = self.routing {
            put(ROUTING, &[u8::from(routing == Routing::Hard)]);
        }
        let patterns = node.map(|node| [(HOSTNAME, &node.hostname), (BLOCK_ID, &node.block_id)]);
        for (tag, patterns) in patterns.into_iter().flatten() {
            patterns.iter().for_each(|it| put(tag, it.as_bytes()));
        }
        out
    }

    /// Decodes a task's requirements, with the affinity returned separately. Returns `None` if the
    /// task has no requirements, or if [`Self::to_bytes`] did not write these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Option<(Self, Option<Affinity>)> {
        if bytes.is_empty() {
            return None;
        }
        let (mut needs, mut node, mut affinity) = (Self::default(), NodeNeeds::default(), None);
        let mut rest = bytes;
        while let Some((&tag, behind)) = rest.split_first() {
            let (len, behind) = behind.split_first_chunk()?;
            let len = u32::from_le_bytes(*len) as usize;
            let (value, behind) = behind.split_at_checked(len)?;
            rest = behind;
            match tag {
                CORES => needs.cores = Some(amount(value)?),
                MEMORY_MB => needs.memory_mb = Some(amount(value)?),
                RUNNING_TIME_S => needs.running_time_s = Some(amount(value)?),
                CPU_COUNT => node.cpu_count = Some(amount(value)?),
                TOTAL_MEMORY_MB => node.total_memory_mb = Some(amount(value)?),
                AFFINITY => affinity = Some(Affinity::new(value)),
                TASK_TYPE => needs.task_type = Some(text(value)?),
                ROUTING => {
                    let is_hard = *value.first()? == 1;
                    needs.routing = Some(if is_hard {
                        Routing::Hard
                    } else {
                        Routing::Soft
                    });
                }
                HOSTNAME => node.hostname.push(text(value)?),
                BLOCK_ID => node.block_id.push(text(value)?),
                _ => return None,
            }
        }
        needs.node = (node != NodeNeeds::default()).then(|| Box::new(node));
        Some((needs, affinity))
    }
}

fn amount(bytes: &[u8]) -> Option<Amount> {
    let bits = u64::from_le_bytes(bytes.try_into().ok()?);
    Amount::new(f64::from_bits(bits))
}

fn text(bytes: &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(bytes).ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Needs {
        let amount = |number| Amount::new(number);
        Needs {
            cores: amount(1.5),
            memory_mb: amount(0.0),
            running_time_s: amount(1e9),
            affinity: None,
            task_type: Some("ü".into()),
            routing: Some(Routing::Hard),
            node: Some(Box::new(NodeNeeds {
                hostname: vec!["a*".into(), "b".into()],
                block_id: vec!["3".into()],
                cpu_count: amount(8.0),
                total_memory_mb: amount(2.5),
            })),
        }
    }

    #[test]
    fn written_needs_are_read_back() {
        let affinity = Affinity::new(b"n1");
        let bytes = all().to_bytes(Some(&affinity));
        assert_eq!(Needs::of_bytes(&bytes), Some((all(), Some(affinity))));
        let one = Needs {
            cores: Amount::new(2.0),
            ..Needs::default()
        };
        assert_eq!(Needs::of_bytes(&one.to_bytes(None)), Some((one, None)));
    }

    #[test]
    fn bytes_that_are_cut_or_changed_are_refused_or_read() {
        let bytes = all().to_bytes(Some(&Affinity::new(b"n1")));
        assert_eq!(Needs::of_bytes(b""), None);
        for end in 0..bytes.len() {
            let _ = Needs::of_bytes(&bytes[..end]);
            let mut changed = bytes.clone();
            changed[end] = changed[end].wrapping_add(1);
            let _ = Needs::of_bytes(&changed);
        }
    }
}
