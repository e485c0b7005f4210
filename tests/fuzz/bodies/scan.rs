//! Fuzzes the scanner and the splicer: an accepted pickle can be joined into a batch, and stays one
//! object there.

use pickle::{Tree, scan};

pub fn run(data: &[u8]) {
    let Ok(program) = scan(data) else {
        assert!(Tree::read(data).is_err(), "the tree reads what is refused");
        return;
    };
    assert!(program.end() <= data.len());
    let mut linked = Vec::new();
    program.append_to(data, &mut linked);
    assert_eq!(linked.len(), program.appended_len());
    if let Some(body) = program.body() {
        assert_eq!(&data[body], linked);
    }
    // The pickle without its last byte is invalid.
    assert!(scan(&data[..program.end() - 1]).is_err());
    check_batch(data.len(), &linked);
}

/// Checks that a batch `[1, object, 2]` is well formed and has three members.
fn check_batch(original_len: usize, linked: &[u8]) {
    let mut batch = b"\x80\x04](K\x01".to_vec();
    batch.extend_from_slice(linked);
    batch.extend_from_slice(b"K\x02e");
    // Memo indices are limited by the length of the input, and joining removes frame headers. So
    // the batch is filled up to the length of the input.
    while batch.len() < original_len {
        batch.extend_from_slice(b"N0");
    }
    batch.push(b'.');
    let program = scan(&batch).expect("a batch is well formed");
    assert_eq!(program.end(), batch.len());
    let Ok(tree) = Tree::read(&batch) else {
        return;
    };
    let items: Vec<_> = tree.root().items().expect("a list").collect();
    let ends = [items.first(), items.last()].map(|end| end.and_then(|end| end.as_i64()));
    assert_eq!((items.len(), ends), (3, [Some(1), Some(2)]));
}
