//! Records of managers for the monitoring hub: one whenever something about a manager changes.

use super::Broker;
use super::manager::Manager;
use super::now::Now;
use super::output::Output;
use super::slot::Slot;
use protocol::{NodeInfo, Report};

impl<B> Broker<B> {
    pub(super) fn report(&mut self, slot: Slot, now: Now) {
        if self.settings.monitoring {
            let info = self.managers.get(slot).info(now);
            self.send_report(info);
        }
    }

    /// Like [`Self::report`], for a manager that is not, or no longer, in the table.
    pub(super) fn report_of(&mut self, manager: &Manager<B>, now: Now) {
        if self.settings.monitoring {
            self.send_report(manager.info(now));
        }
    }

    fn send_report(&mut self, info: NodeInfo<B>) {
        let report = Report::NodeInfo(Box::new(info));
        self.outputs.push_back(Output::Report(report));
    }
}
