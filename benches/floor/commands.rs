//! The commands that `load` sends.

use pickle::{Encoder, Tree};

use super::managers::{Manager, Managers};

/// Returns the reply to a request. The reply to an unknown request is None, as in the stock
/// interchange.
pub(crate) fn reply(request: &[u8], managers: &Managers, worker_port: u16) -> Vec<u8> {
    let tree = Tree::read(request).ok();
    let word = tree.as_ref().and_then(|tree| tree.root().as_str());
    let mut out = Encoder::new();
    match word {
        Some("WORKER_BINDS") => {
            out.int(worker_port.into());
        }
        Some("CONNECTED_BLOCKS") => {
            out.begin_list();
            for manager in managers.all() {
                out.str(&manager.block);
            }
            out.end_list();
        }
        Some("MANAGERS") => {
            out.begin_list();
            for manager in managers.all() {
                describe(manager, &mut out);
            }
            out.end_list();
        }
        _ => {
            out.none();
        }
    }
    out.finish()
}

fn describe(manager: &Manager, out: &mut Encoder) {
    out.begin_dict();
    out.str("manager")
        .str(&String::from_utf8_lossy(&manager.identity));
    out.str("block_id").str(&manager.block);
    out.str("worker_count").int(manager.slots as i64);
    out.str("tasks").int((manager.slots - manager.free) as i64);
    out.str("idle_duration").float(0.0);
    out.str("active").bool(true);
    out.str("parsl_version").str("");
    out.str("python_version").str("");
    out.str("draining").bool(false);
    out.end_dict();
}

/// Reads the block and the slots from a registration.
pub(crate) fn read_registration(message: &[u8]) -> Option<(String, usize)> {
    let tree = Tree::read(message).ok()?;
    let root = tree.root();
    let block = root.get("block_id")?.as_str()?.to_owned();
    let slots = usize::try_from(root.get("max_capacity")?.as_i64()?).ok()?;
    Some((block, slots))
}

/// Returns the reply to a heartbeat.
pub(crate) fn heartbeat_echo() -> Vec<u8> {
    let mut out = Encoder::new();
    out.int((1 << 32) - 1);
    out.finish()
}
