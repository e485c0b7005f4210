//! Tests of the program's command `report`: it runs a Python, or says why none can be used.

use std::path::Path;
use std::process::{Command, Output};

const FAKE: &str = "src/tools/report/fake_python";

fn report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_htex-interchange"))
        .arg("report")
        .args(arguments)
        .env("PATH", "")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program is built")
}

#[test]
fn the_python_that_is_named_makes_the_report() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(FAKE);
    let python = python.to_str().expect("a text");
    let told = report(&["runinfo/000", "--python", python, "--out", "page.html"]);
    let text = String::from_utf8_lossy(&told.stdout);
    let expected = "-m\nhtex_interchange.report\nruninfo/000\n--out\npage.html\n";
    assert_eq!((text.as_ref(), told.status.code()), (expected, Some(7)));
    assert!(told.stderr.is_empty(), "{told:?}");
}

#[test]
fn without_a_python_one_line_says_what_to_do() {
    for arguments in [
        &["runinfo/000"][..],
        &["runinfo/000", "--python", "/nowhere"],
    ] {
        let told = report(arguments);
        let text = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(1), "{text}");
        assert!(told.stdout.is_empty());
        assert!(text.starts_with("htex-interchange: "), "{text}");
        assert!(text.contains("pip install htex-interchange"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    assert_eq!(report(&[]).status.code(), Some(2));
}
