//! The event loop on real sockets, driven by a test in the same process: cases that cannot be
//! provoked in the finished program.

#![expect(clippy::unwrap_used, reason = "a test, and its helpers, fail by it")]

mod common;

use std::thread;

use event_loop::End;
use pickle::Tree;
use zmq::Context;

use common::{FakeExecutor, receive, serve};

#[test]
fn a_panic_fails_every_future_with_its_reason() {
    let executor = FakeExecutor::new(&Context::new());
    let ports = executor.ports();
    let interchange = thread::spawn(move || serve(ports, None, None));
    assert!(executor.ask_for_worker_port() > 0);
    executor.submit();

    let message = receive(&executor.results);
    let tree = Tree::read(&message).unwrap();
    let field = |key: &str| tree.root().get(key).unwrap();
    assert_eq!(field("type").as_str(), Some("result"));
    assert_eq!(field("task_id").as_i64(), Some(-1));
    let exception = field("exception").as_bytes().unwrap();
    let body = exception
        .strip_prefix(b"02\n")
        .expect("the header that every release reads");
    let exception = Tree::read(body).unwrap();
    let exception = exception.root().instance().unwrap();
    assert_eq!(
        exception.callable.class_name(),
        Some(("builtins", "RuntimeError"))
    );
    let text = exception.arguments.items().unwrap().next().unwrap();
    assert!(text.as_str().unwrap().contains("the selector has a fault"));
    assert_eq!(interchange.join().unwrap(), End::Broken);
}
