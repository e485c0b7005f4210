//! Pickled objects that are carried and never opened.
//!
//! `F` is the frame type of the socket code. Only code with the bound `F: AsRef<[u8]>` can reach
//! the bytes. The broker does not have this bound, so it cannot look inside the messages that it
//! carries.

use std::ops::Range;

use pickle::{Encoder, Program};

/// Maximum size of a message that is copied out of its frame if it stays. It fills only a part of
/// libzmq's receive buffer, but pins all of it: a queued 1 KiB task takes 1,906 resident bytes, and
/// 1,359 when copied. Larger bodies have separate buffers.
pub const SHARES_BUFFER_UP_TO_BYTES: usize = 8 * 1024;

/// A pickled object that is passed from one peer to another.
#[derive(Debug)]
pub struct Opaque<F>(Form<F>);

#[derive(Debug)]
enum Form<F> {
    /// Opcodes that leave the object on the stack, for use in another pickle.
    Spliced(Box<[u8]>),
    /// The received frame, and the range of its bytes that are opcodes for use in another pickle.
    Within { frame: F, body: Range<u32> },
    /// The received frame, and the data for splicing it later.
    Kept { frame: F, program: Box<Program> },
    /// A frame that is forwarded whole.
    Whole(F),
}

/// How long an object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// About one turn. A copy is not worth its cost.
    Short,
    /// An unknown time. Small objects are copied out of their shared receive buffer.
    Long,
}

impl<F: AsRef<[u8]>> Opaque<F> {
    /// Creates an object that is to be spliced into a message of the interchange.
    pub fn object(frame: F, program: Program, stay: Stay) -> Self {
        let len = program.appended_len();
        let is_small = len <= SHARES_BUFFER_UP_TO_BYTES;
        if stay == Stay::Long && is_small && program.is_spliceable() {
            let mut body = Vec::with_capacity(len);
            program.append_to(frame.as_ref(), &mut body);
            return Self(Form::Spliced(body.into_boxed_slice()));
        }
        if let Some(body) = program.body()
            && let (Ok(start), Ok(end)) = (u32::try_from(body.start), u32::try_from(body.end))
        {
            let body = start..end;
            return Self(Form::Within { frame, body });
        }
        let program = Box::new(program);
        Self(Form::Kept { frame, program })
    }

    /// Creates a frame that is to be forwarded unchanged.
    pub fn whole(frame: F) -> Self {
        Self(Form::Whole(frame))
    }

    /// Returns the number of bytes that [`Self::append_to`] adds.
    pub fn appended_len(&self) -> usize {
        match &self.0 {
            Form::Spliced(body) => body.len(),
            Form::Within { body, .. } => body.len(),
            Form::Kept { program, .. } => program.appended_len(),
            Form::Whole(frame) => frame.as_ref().len(),
        }
    }

    /// Appends opcodes that leave the object on the stack.
    pub fn append_to(&self, out: &mut Encoder) {
        match &self.0 {
            Form::Spliced(body) => out.body(body),
            Form::Within { frame, body } => {
                let body = body.start as usize..body.end as usize;
                out.body(&frame.as_ref()[body])
            }
            Form::Kept { frame, program } => out.object(program, frame.as_ref()),
            Form::Whole(frame) => {
                debug_assert!(false, "a whole frame is forwarded, not spliced");
                out.body(frame.as_ref())
            }
        };
    }

    /// Returns a separate pickle of the object.
    pub fn to_pickle(&self) -> Vec<u8> {
        if let Form::Kept { frame, program } = &self.0
            && !program.is_spliceable()
        {
            // `append_to` would write a call of `pickle.loads` in place of this object.
            return frame.as_ref().to_vec();
        }
        let mut out = Encoder::with_capacity(self.appended_len());
        self.append_to(&mut out);
        out.finish()
    }

    /// Appends opcodes that leave one item of the object on the stack: `operator.getitem(object,
    /// key)`, which the loading process evaluates.
    pub(crate) fn append_item_to(&self, key: &str, out: &mut Encoder) {
        out.global("operator", "getitem").begin_tuple();
        self.append_to(out);
        out.str(key).end_tuple().reduce();
    }

    /// Returns the received frame, if it was kept.
    pub fn into_frame(self) -> Option<F> {
        match self.0 {
            Form::Whole(frame) | Form::Within { frame, .. } | Form::Kept { frame, .. } => {
                Some(frame)
            }
            Form::Spliced(_) => None,
        }
    }
}
