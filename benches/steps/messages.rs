//! Messages byte for byte as Parsl's peers pickle them (protocol 4, the default of Python 3.8 to
//! 3.13). `test_instructions.py` compares them with Python's output.

/// Typical size of a small function with its arguments.
const BUFFER_BYTES: usize = 1024;
/// Typical number of Python packages on a node.
const PACKAGES: usize = 60;

/// The first task id. From here on all ids of a run are written with the same opcode.
pub(crate) const FIRST_TASK: i64 = 100_000;

/// A function that makes a message.
pub(crate) type Make = fn() -> Vec<u8>;

/// The messages by name, for the test that compares them with Python's.
#[allow(dead_code, reason = "only one of the programs shows its messages")]
pub(crate) const MESSAGES: [(&str, Make); 7] = [
    ("task", || task(FIRST_TASK)),
    ("task_with_priority", || task_with_priority(FIRST_TASK, 7)),
    ("task_with_needs", || task_with_needs(FIRST_TASK)),
    ("task_with_executor", || task_with_executor(FIRST_TASK)),
    ("result", || result(FIRST_TASK)),
    ("heartbeat", heartbeat),
    ("registration", registration),
];

/// `{"task_id": id, "context": {"resource_spec": {}}, "buffer": …}`
pub(crate) fn task(id: i64) -> Vec<u8> {
    let mut out = Pickle::of_task(id);
    out.op(b"}\x94").text("resource_spec").op(b"}\x94s");
    out.end_task()
}

/// A task with `"resource_spec": {"priority": …}`.
pub(crate) fn task_with_priority(id: i64, priority: u8) -> Vec<u8> {
    let mut out = Pickle::of_task(id);
    out.op(b"}\x94").text("resource_spec").op(b"}\x94");
    out.text("priority").op(&[b'K', priority]).op(b"ss");
    out.end_task()
}

/// A task with a priority and six other keys about its placement.
pub(crate) fn task_with_needs(id: i64) -> Vec<u8> {
    let mut out = Pickle::of_task(id);
    out.op(b"}\x94(").text("resource_spec").op(b"}\x94");
    out.text("priority").op(b"K\x07s");
    out.text("placement").op(b"}\x94(");
    out.text("cores").op(b"K\x04");
    out.text("memory").op(b"M\xa0\x0f");
    out.text("running_time_min").float(60.0);
    out.text("manager_affinity").text("sample 17");
    out.text("task_type").text("relax");
    out.text("routing").text("hard").op(b"uu");
    out.end_task()
}

/// A task as Globus Compute's engine submits it, with a tuple of two UUIDs. The class of the second
/// one is read from the memo. No fast path reads such a task.
pub(crate) fn task_with_executor(id: i64) -> Vec<u8> {
    let mut out = Pickle::of_task(id);
    out.op(b"}\x94").text("task_executor").op(b"}\x94(");
    out.text("f")
        .text("globus_compute_endpoint.engines.helper.execute_task");
    out.text("a");
    out.text("uuid").text("UUID").op(b"\x93\x94");
    out.op(b")\x81\x94}\x94").text("int");
    out.op(b"\x8a\x10").op(&[0x17; 16]).op(b"sb");
    // Memo references to the class and to the key of its state: the 12th and the 15th object.
    out.op(b"h\x0b)\x81\x94}\x94h\x0e");
    out.op(b"\x8a\x10").op(&[0x29; 16]).op(b"sb");
    out.op(b"\x86\x94");
    out.text("k").op(b"}\x94(");
    out.text("run_dir").text("tasks_working_dir");
    out.text("run_in_sandbox").op(b"\x89");
    out.text("result_serializers").op(b"Nuus");
    out.end_task()
}

/// `{"type": "result", "task_id": id, "result": …}`, where the last key is the same string object
/// as the first value.
pub(crate) fn result(id: i64) -> Vec<u8> {
    let mut out = Pickle::begin();
    out.op(b"}\x94(").text("type").text("result");
    out.text("task_id").int(id);
    out.op(b"h\x02").buffer().op(b"u");
    out.end()
}

/// `{"type": "heartbeat"}`
pub(crate) fn heartbeat() -> Vec<u8> {
    let mut out = Pickle::begin();
    out.op(b"}\x94").text("type").text("heartbeat").op(b"s");
    out.end()
}

/// The registration that a manager sends when it connects.
pub(crate) fn registration() -> Vec<u8> {
    let mut out = Pickle::begin();
    out.op(b"}\x94(").text("type").text("registration");
    out.text("parsl_v").text("2026.10.26");
    out.text("python_v").text("3.11.7");
    out.text("packages").op(b"}\x94(");
    for number in 0..PACKAGES {
        out.text(&format!("package-{number}"));
        out.text(&format!("1.{number}.0"));
    }
    out.op(b"u");
    out.text("worker_count").op(b"K\x10");
    out.text("uid").text("0123456789ab");
    out.text("block_id").text("0");
    out.text("start_time").float(1_790_000_000.5);
    out.text("drain_time").float(f64::INFINITY);
    out.text("prefetch_capacity").op(b"K\x00");
    out.text("max_capacity").op(b"K\x10");
    out.text("os").text("Linux");
    out.text("hostname").text("node1.example.org");
    out.text("dir").text("/scratch/run");
    out.text("cpu_count").op(b"K\x10");
    // 2 ** 36, which does not fit into the opcodes of fixed length.
    out.text("total_memory").op(b"\x8a\x05\0\0\0\0\x10");
    out.op(b"u");
    out.end()
}

/// A pickle of one frame that is being written.
struct Pickle(Vec<u8>);

impl Pickle {
    fn begin() -> Self {
        Self(b"\x80\x04\x95\0\0\0\0\0\0\0\0".to_vec())
    }

    fn of_task(id: i64) -> Self {
        let mut out = Self::begin();
        out.op(b"}\x94(").text("task_id").int(id);
        out.text("context");
        out
    }

    fn op(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let len = u8::try_from(text.len()).expect("a short text");
        self.op(&[0x8c, len]).op(text.as_bytes()).op(b"\x94")
    }

    fn int(&mut self, value: i64) -> &mut Self {
        let value = i32::try_from(value).expect("an id of ordinary size");
        assert!(i64::from(value) >= FIRST_TASK, "smaller ones are shorter");
        self.op(b"J").op(&value.to_le_bytes())
    }

    fn float(&mut self, value: f64) -> &mut Self {
        self.op(b"G").op(&value.to_be_bytes())
    }

    fn buffer(&mut self) -> &mut Self {
        self.op(b"B").op(&(BUFFER_BYTES as u32).to_le_bytes());
        self.op(&[0x5a; BUFFER_BYTES]).op(b"\x94")
    }

    fn end_task(mut self) -> Vec<u8> {
        self.text("buffer").buffer().op(b"u");
        self.end()
    }

    fn end(mut self) -> Vec<u8> {
        const HEAD: usize = 11;
        self.op(b".");
        let len = (self.0.len() - HEAD) as u64;
        self.0[3..HEAD].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}
