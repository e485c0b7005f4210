//! Fuzzes messages of managers, and all messages for others that are made from them.

use std::rc::Rc;

use pickle::Tree;
use protocol::{
    Failure, FromManager, ManagerId, NodeInfo, Opaque, Registration, Reply, Report, SelectorAnswer,
    SelectorQuestion,
};

use super::is_well_formed;

pub fn run(data: &[u8]) {
    if let Ok(message) = FromManager::parse(data) {
        check(message, data);
    }
}

/// Checks a message against its frame, and the output that is made from it.
pub(crate) fn check(message: FromManager<Opaque<&[u8]>>, frame: &[u8]) {
    let tree = Tree::read(frame).expect("what is understood can be read");
    let told = |key| tree.root().get(key);
    let kind = told("type").and_then(|kind| kind.as_str());
    assert_eq!(kind, Some(message.kind()));
    match message {
        FromManager::Result {
            task, frame: kept, ..
        } => {
            assert_eq!(told("task_id").and_then(|id| id.as_i64()), Some(task.0));
            let kept = kept.into_frame().expect("kept whole");
            assert_eq!(kept, frame, "a result is forwarded as it came");
        }
        FromManager::SpoiltResult { task, reason } => {
            let failure = Failure::Unreadable { task, reason };
            assert!(is_well_formed(&failure.encode()));
        }
        FromManager::Registration(registration) => check_registration(*registration),
        FromManager::Monitoring { message } => {
            assert!(is_well_formed(&Report::Relayed(message).encode(None)));
        }
        FromManager::ConnectionProbe | FromManager::Heartbeat | FromManager::Drain => {}
    }
}

fn check_registration(registration: Registration<Opaque<&[u8]>>) {
    assert!(registration.max_capacity <= 1 << 24);
    assert!(!registration.drain_time_s.is_nan() && !registration.start_time_s.is_nan());
    assert!(
        registration
            .python_version
            .starts_with(registration.python_minor())
    );
    let id = ManagerId::new(b"manager");
    let registration = Rc::new(registration);
    let packages = Reply::Packages(vec![(id.clone(), Rc::clone(&registration))]);
    assert!(is_well_formed(&packages.encode()));
    let info = || NodeInfo {
        registration: Rc::clone(&registration),
        tasks: Vec::new(),
        active: true,
        draining: false,
        last_heartbeat_s: 1.0,
        idle_since_s: None,
        timestamp_s: 2.0,
    };
    assert!(is_well_formed(
        &Report::NodeInfo(Box::new(info())).encode(Some("run"))
    ));
    let question = SelectorQuestion {
        number: 1,
        joined: vec![(id.clone(), info())],
        changed: vec![(id.clone(), info())],
        gone: vec![id.clone()],
        candidates: vec![id],
    };
    let question = question.encode();
    assert!(is_well_formed(&question));
    assert!(
        SelectorAnswer::parse(&question).is_err(),
        "a question is no answer"
    );
}
