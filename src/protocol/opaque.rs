//! What we carry and never open.
//!
//! `F` is whatever the sockets' ring calls a frame. Only code that knows `F: AsRef<[u8]>` can
//! reach the bytes; the broker does not, so it cannot look inside what passes through it.

use std::ops::Range;

use pickle::{Encoder, Program};

/// Bodies up to this size do not fill the buffer that libzmq received them into, and pin it: 1,906
/// bytes resident for a queued 1 KiB task against 1,359 when copied. Larger ones have a buffer of
/// their own.
const SHARES_BUFFER_UP_TO_BYTES: usize = 8 * 1024;

/// A pickled object on its way from one peer to another.
#[derive(Debug)]
pub struct Opaque<F>(Form<F>);

#[derive(Debug)]
enum Form<F> {
    /// Opcodes that leave the object on the stack, ready to stand in another pickle.
    Spliced(Box<[u8]>),
    /// The frame as it came, in which these bytes are such opcodes.
    Within { frame: F, body: Range<u32> },
    /// The frame as it came, and how to splice it when the time comes.
    Kept { frame: F, program: Box<Program> },
    /// A frame that is passed on whole.
    Whole(F),
}

/// How long an object will be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// About as long as a turn: it is not worth a copy.
    Short,
    /// Who knows: small ones are copied out of the buffer that they share.
    Long,
}

impl<F: AsRef<[u8]>> Opaque<F> {
    /// An object that will be spliced into a message of ours.
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

    /// A frame that will be forwarded as it is.
    pub fn whole(frame: F) -> Self {
        Self(Form::Whole(frame))
    }

    /// How many bytes [`Self::append_to`] adds.
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

    /// A pickle of its own, of the same object.
    pub fn to_pickle(&self) -> Vec<u8> {
        if let Form::Kept { frame, program } = &self.0
            && !program.is_spliceable()
        {
            // What is appended of it would be read as a call that loads it.
            return frame.as_ref().to_vec();
        }
        let mut out = Encoder::with_capacity(self.appended_len());
        self.append_to(&mut out);
        out.finish()
    }

    /// Appends opcodes that leave one item of the object on the stack: `operator.getitem(object,
    /// key)`, worked out by whoever loads them.
    pub(crate) fn append_item_to(&self, key: &str, out: &mut Encoder) {
        out.global("operator", "getitem").begin_tuple();
        self.append_to(out);
        out.str(key).end_tuple().reduce();
    }

    /// The frame that came, if it was kept whole.
    pub fn into_frame(self) -> Option<F> {
        match self.0 {
            Form::Whole(frame) | Form::Within { frame, .. } | Form::Kept { frame, .. } => {
                Some(frame)
            }
            Form::Spliced(_) => None,
        }
    }
}
