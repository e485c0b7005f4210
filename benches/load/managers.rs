//! The submit side's access to the managers' thread.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::arguments::Arguments;
use super::certificates::Certificates;
use super::checker::Checker;
use super::crew::{Crew, Order, Setup};
use super::shared::Shared;
use super::trouble::{Outcome, Trouble};
use super::words::Registration;

/// Number of sockets beyond the managers' own: one for the direct measurement, and those that
/// libzmq needs.
const SOCKETS_EXTRA: usize = 16;
/// Returns how many sockets libzmq must allow. Sockets of managers that have gone close later.
fn sockets_max(arguments: &Arguments) -> usize {
    let places = if arguments.is_soak() { 2 } else { 1 };
    arguments.managers * places + SOCKETS_EXTRA
}

/// The version that managers send when versions are not compared.
const ANY_VERSION: &str = "0.0.0";

pub(crate) struct Managers {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    pub shared: Arc<Shared>,
}

impl Managers {
    /// Starts the thread, without any connection yet.
    pub(crate) fn start(
        arguments: &Arguments,
        certificates: Option<Arc<Certificates>>,
        checker: Checker,
    ) -> Outcome<Self> {
        let (orders, receiver) = mpsc::channel();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags)?);
        let shared = Arc::new(Shared::default());
        let version = |given: &Option<String>| given.clone().unwrap_or(ANY_VERSION.to_owned());
        let crew = Crew::new(Setup {
            slots: arguments.slots,
            heartbeat_period: arguments.heartbeat_period(),
            io_threads: arguments.io_threads,
            sockets_max: sockets_max(arguments),
            registration: Registration {
                parsl_version: version(&arguments.parsl_version),
                python_version: version(&arguments.python_version),
                slots: arguments.slots,
            },
            certificates,
            checker,
            shared: Arc::clone(&shared),
            orders: receiver,
            wake: Arc::clone(&wake),
        })?;
        thread::Builder::new()
            .name("managers".to_owned())
            .spawn(move || crew.run())?;
        Ok(Self {
            orders,
            wake,
            shared,
        })
    }

    pub(crate) fn order(&self, order: Order) -> Outcome<()> {
        let gone = |_| Trouble::Failure("the managers' thread has ended".to_owned());
        self.orders.send(order).map_err(gone)?;
        rustix::io::write(&*self.wake, &1_u64.to_ne_bytes())?;
        Ok(())
    }
}
