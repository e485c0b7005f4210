//! CPython, the tree and serde-pickle read what the encoder writes. The tree and serde-pickle read
//! what CPython writes.

use pickle::{Encoder, Tree, View, scan};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_pickle::{DeOptions, Value};

use crate::describe::describe;
use crate::oracle;

/// A plain value to encode.
#[derive(Debug, Clone)]
enum Plain {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Plain>),
    Tuple(Vec<Plain>),
    Dict(Vec<(String, Plain)>),
}

fn plain_values() -> impl Strategy<Value = Plain> {
    let edge = prop::sample::select(vec![0, 255, 256, 65_535, 65_536, i64::MAX, i64::MIN, -1]);
    let leaf = prop_oneof![
        Just(Plain::None),
        any::<bool>().prop_map(Plain::Bool),
        prop_oneof![any::<i64>(), any::<i32>().prop_map(i64::from), edge].prop_map(Plain::Int),
        any::<f64>().prop_map(Plain::Float),
        ".{0,300}".prop_map(Plain::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Plain::Bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Plain::List),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Plain::Tuple),
            prop::collection::vec(("[a-f]{0,2}", inner), 0..6).prop_map(Plain::Dict),
        ]
    })
}

fn encode(encoder: &mut Encoder, value: &Plain) {
    match value {
        Plain::None => drop(encoder.none()),
        Plain::Bool(value) => drop(encoder.bool(*value)),
        Plain::Int(value) => drop(encoder.int(*value)),
        Plain::Float(value) => drop(encoder.float(*value)),
        Plain::Text(text) => drop(encoder.str(text)),
        Plain::Bytes(bytes) => drop(encoder.bytes(bytes)),
        Plain::List(items) => {
            encoder.begin_list();
            items.iter().for_each(|item| encode(encoder, item));
            encoder.end_list();
        }
        Plain::Tuple(items) => {
            encoder.begin_tuple();
            items.iter().for_each(|item| encode(encoder, item));
            encoder.end_tuple();
        }
        Plain::Dict(entries) => {
            encoder.begin_dict();
            for (key, item) in entries {
                encode(encoder.str(key), item);
            }
            encoder.end_dict();
        }
    }
}

/// Whether the tree shows this value. NaN is compared by its bits.
fn matches(value: &Plain, view: View<'_, '_>) -> bool {
    let all = |items: &[Plain]| {
        let views: Vec<_> = view.items().expect("a sequence").collect();
        items.len() == views.len() && items.iter().zip(views).all(|(i, v)| matches(i, v))
    };
    match value {
        Plain::None => view.is_none(),
        Plain::Bool(value) => view.as_bool() == Some(*value) && view.as_i64().is_none(),
        Plain::Int(value) => view.as_i64() == Some(*value) && view.as_bool().is_none(),
        Plain::Float(value) => view.as_f64().map(f64::to_bits) == Some(value.to_bits()),
        Plain::Text(text) => view.as_str() == Some(text),
        Plain::Bytes(bytes) => view.as_bytes() == Some(bytes),
        Plain::List(items) => view.is_list() && all(items),
        Plain::Tuple(items) => view.kind_name() == "tuple" && all(items),
        Plain::Dict(entries) => entries.iter().enumerate().all(|(at, (key, _))| {
            let last = entries.iter().skip(at).rfind(|(other, _)| other == key);
            let found = view.get(key).expect("every key is found");
            matches(&last.expect("at least itself").1, found)
        }),
    }
}

#[test]
fn every_reader_reads_back_an_encoded_value() {
    let mut config = ProptestConfig::with_cases(1_000);
    config.rng_seed = RngSeed::Fixed(20_261_026);
    config.failure_persistence = None;
    proptest!(config, |(value in plain_values())| {
        let mut encoder = Encoder::new();
        encode(&mut encoder, &value);
        let bytes = encoder.finish();
        let tree = Tree::read(&bytes).expect("well formed");
        prop_assert!(matches(&value, tree.root()));
        let ours = describe(&tree).expect("plain");
        prop_assert_eq!(Ok(Ok(Some(ours))), oracle::describe(&bytes));
        prop_assert!(serde_pickle::value_from_slice(&bytes, DeOptions::new()).is_ok());
    });
}

/// Lengths around the limits of the short and the long forms.
#[test]
fn the_forms_of_length() {
    for len in [0, 1, 255, 256, 65_535, 65_536, 70_000] {
        let mut encoder = Encoder::with_capacity(len);
        encoder
            .begin_tuple()
            .str(&"x".repeat(len))
            .bytes(&vec![7; len])
            .end_tuple();
        let bytes = encoder.finish();
        let tree = Tree::read(&bytes).expect("well formed");
        let parts: Vec<_> = tree.root().items().expect("a tuple").collect();
        assert_eq!(parts[0].as_str().map(str::len), Some(len));
        assert_eq!(parts[1].as_bytes().map(<[u8]>::len), Some(len));
        assert_eq!(Ok(Ok(describe(&tree))), oracle::describe(&bytes));
        assert_eq!(bytes[3], if len < 256 { 0x8c } else { b'X' });
    }
}

/// Numbers around the limits of the short and the long forms.
#[test]
fn the_forms_of_an_int() {
    for (number, opcode) in [
        (0, b'K'),
        (255, b'K'),
        (256, b'M'),
        (65_535, b'M'),
        (65_536, b'J'),
        (-1, b'J'),
        (i64::from(i32::MIN), b'J'),
        (i64::from(i32::MIN) - 1, 0x8a),
        (i64::MAX, 0x8a),
    ] {
        let mut encoder = Encoder::new();
        encoder.int(number);
        let bytes = encoder.finish();
        assert_eq!(bytes[2], opcode, "{number}");
        let tree = Tree::read(&bytes).expect("well formed");
        assert_eq!(tree.root().as_i64(), Some(number));
        assert_eq!(Ok(Ok(describe(&tree))), oracle::describe(&bytes));
    }
}

/// Covers the instructions that no plain value needs.
#[test]
fn classes_calls_updates_and_the_memo() {
    let mut encoder = Encoder::new();
    encoder.begin_list();
    encoder.global("builtins", "complex");
    let class = encoder.memoize();
    encoder.begin_tuple().int(1).int(2).end_tuple().reduce();
    encoder.get(class).empty_tuple().reduce();
    encoder.global("shapes", "Plain").empty_tuple().newobj();
    encoder.begin_dict().str("x").none().end_dict().build();
    let spliced = b"\x80\x04}\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94K\x02u.";
    encoder.object(&scan(spliced).expect("well formed"), spliced);
    encoder
        .begin_update()
        .str("b")
        .bool(true)
        .str("c")
        .float(0.5)
        .end_dict();
    encoder.int(9).pop();
    encoder.end_list();
    let bytes = encoder.finish();
    assert_eq!(oracle::load(&bytes).unwrap(), ["ok", "ok"]);

    let tree = Tree::read(&bytes).expect("well formed");
    let items: Vec<_> = tree.root().items().expect("a list").collect();
    assert_eq!(items.len(), 4);
    for (item, arguments) in [(items[0], 2), (items[1], 0)] {
        let call = item.instance().expect("a call");
        assert_eq!(call.callable.class_name(), Some(("builtins", "complex")));
        assert_eq!(call.callable.kind_name(), "a class");
        assert!(call.keywords.is_none() && call.state.is_none());
        assert_eq!(call.arguments.items().expect("a tuple").count(), arguments);
    }
    let [first, second] = [items[0], items[1]].map(|item| item.instance().expect("a call"));
    assert_eq!(first.callable.index(), second.callable.index());
    let plain = items[2].instance().expect("an instance");
    assert!(
        plain
            .state
            .and_then(|state| state.get("x"))
            .expect("there")
            .is_none()
    );
    assert_eq!(items[3].get("a").and_then(View::as_i64), Some(1));
    assert_eq!(items[3].get("b").and_then(View::as_bool), Some(true));
    assert_eq!(items[3].get("c").and_then(View::as_f64), Some(0.5));
}

/// A spliced body may overwrite the encoder's memo entries, so `get` after a splice panics.
#[test]
#[cfg(debug_assertions)]
fn the_memo_cannot_be_read_after_a_splice() {
    let spliced = b"\x80\x04K\x01q\x00.";
    let program = scan(spliced).expect("well formed");
    let mut body = Vec::new();
    program.append_to(spliced, &mut body);
    let put_in: [&dyn Fn(&mut Encoder); 2] = [
        &|encoder| {
            encoder.object(&program, spliced);
        },
        &|encoder| {
            encoder.body(&body);
        },
    ];
    for put_in in put_in {
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut encoder = Encoder::new();
            encoder.none();
            let ours = encoder.memoize();
            put_in(&mut encoder);
            encoder.get(ours);
        }));
        assert!(refused.is_err());
    }
}

/// A memo entry that is written twice holds the later object, under the same number.
#[test]
fn memo_entries_can_be_overwritten() {
    let bytes = b"\x80\x04K\x01q\x00K\x02q\x00K\x03\x94h\x00h\x01\x86\x85.";
    let tree = Tree::read(bytes).expect("well formed");
    let pair = tree.root().items().expect("a tuple").next().expect("one");
    let numbers = pair.items().expect("a tuple").filter_map(View::as_i64);
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 3]);
    assert_eq!(Ok(Ok(describe(&tree))), oracle::describe(bytes));
}

/// An instance keeps the items and entries that a pickle adds to it.
#[test]
fn instances_keep_what_is_put_into_them() {
    let ordered =
        b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R(\x8c\x01aK\x01\x8c\x01aK\x02u.";
    let tree = Tree::read(ordered).expect("well formed");
    let instance = tree.root().instance().expect("an instance");
    assert_eq!(instance.entries().count(), 2);
    assert_eq!(instance.entries().get("a").and_then(View::as_i64), Some(2));
    assert_eq!(instance.items().count(), 0);
    let deque = b"\x80\x04\x8c\x0bcollections\x8c\x05deque\x93)R(K\x01K\x02eK\x03a.";
    let tree = Tree::read(deque).expect("well formed");
    let items = tree.root().instance().expect("an instance").items();
    assert_eq!(
        items.filter_map(View::as_i64).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

/// serde-pickle and the tree agree on what CPython wrote, if serde-pickle can represent the value.
#[test]
fn serde_pickle_and_the_tree_agree() {
    let mut compared = 0;
    for seed in 0..1_500 {
        let bytes = oracle::generate(seed, u8::try_from(seed % 6).expect("small"));
        let Ok(Ok(Some(_))) = oracle::describe(&bytes) else {
            continue;
        };
        let tree = Tree::read(&bytes).expect("CPython wrote it");
        let theirs = serde_pickle::value_from_slice(&bytes, DeOptions::new());
        let (Ok(theirs), Some(ours)) = (theirs, to_value(tree.root(), 40)) else {
            continue;
        };
        assert!(
            same(&ours, &theirs),
            "{ours:?}\n{theirs:?}\n{}",
            bytes.escape_ascii()
        );
        compared += 1;
    }
    assert!(compared > 400, "only {compared} compared");
}

/// Converts a view to a serde-pickle value. Returns `None` for a cycle, an instance, or a type that
/// serde-pickle lacks.
fn to_value(view: View<'_, '_>, depth: u8) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let all = |view: View<'_, '_>| -> Option<Vec<Value>> {
        view.items()?.map(|item| to_value(item, depth)).collect()
    };
    let keys = |view: View<'_, '_>| {
        all(view)?
            .into_iter()
            .map(|item| item.into_hashable().ok())
            .collect::<Option<_>>()
    };
    Some(match view.kind_name() {
        "NoneType" => Value::None,
        "bool" => Value::Bool(view.as_bool()?),
        "int" => Value::I64(view.as_i64()?),
        "float" => Value::F64(view.as_f64()?),
        "str" => Value::String(view.as_str()?.to_owned()),
        "bytes" => Value::Bytes(view.as_bytes()?.to_vec()),
        "list" => Value::List(all(view)?),
        "tuple" => Value::Tuple(all(view)?),
        "set" => Value::Set(keys(view)?),
        "frozenset" => Value::FrozenSet(keys(view)?),
        "dict" => Value::Dict(
            view.entries()?
                .map(|(key, value)| {
                    let key = to_value(key, depth)?.into_hashable().ok()?;
                    Some((key, to_value(value, depth)?))
                })
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        _ => ours == theirs,
    }
}

#[test]
fn ints_of_any_size_are_written_as_they_are_read() {
    for bytes in [
        &[0, 0, 0, 0, 0, 0, 0, 0x80, 0][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff],
        &[1; 255],
        &[1; 256],
        &[0x81; 70_000],
    ] {
        let mut encoder = Encoder::new();
        encoder.big_int(bytes);
        let written = encoder.finish();
        let tree = Tree::read(&written).expect("well formed");
        assert_eq!(tree.root().as_big_int(), Some(bytes));
        assert_eq!(oracle::load(&written).expect("it answers"), ["ok", "ok"]);
    }
}

#[test]
fn the_names_that_are_looked_up() {
    let names = |bytes: &[u8]| -> Vec<String> {
        let tree = Tree::read(bytes).expect("well formed");
        let names = tree.globals().map(|global| global.class_name());
        names.map(|name| format!("{name:?}")).collect()
    };
    let looks_up = |bytes: &[u8]| scan(bytes).expect("well formed").looks_up_names();
    for bytes in [
        &b"ca\nb\n."[..],
        b"(ia\nb\n.",
        b"\x80\x04\x8c\x01a\x8c\x01b\x93.",
        b"\x80\x04\x8c\x01a\x94\x8c\x01b\x93h\x000.",
        b"\x80\x02](ca\nb\nq\x00h\x00h\x00e.",
    ] {
        assert_eq!(
            names(bytes),
            [r#"Some(("a", "b"))"#],
            "{}",
            bytes.escape_ascii()
        );
        assert!(looks_up(bytes));
    }
    // A str that contains the text of a GLOBAL instruction is not a name.
    let quiet = b"\x80\x04](\x8c\x01a\x8c\x01bC\x05ca\nb\ne.";
    assert!(names(quiet).is_empty() && !looks_up(quiet));
}

#[test]
fn a_trusted_pickle_may_hold_any_number_of_objects() {
    let bytes = [&b"\x80\x04]("[..], &b"N".repeat(1 << 19), b"e."].concat();
    let error = Tree::read(&bytes).expect_err("too many for a peer");
    assert_eq!(error.fault, pickle::Fault::TooComplex);
    let tree = Tree::read_trusted(&bytes).expect("well formed");
    assert_eq!(tree.root().items().map(Iterator::count), Some(1 << 19));
}
