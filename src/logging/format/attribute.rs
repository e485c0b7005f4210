//! The attributes of a `LogRecord`, with the names that formats use.

/// An attribute of a `LogRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Args,
    Asctime,
    Created,
    FileName,
    FuncName,
    LevelName,
    LevelNo,
    LineNo,
    Message,
    Module,
    Msecs,
    Msg,
    Name,
    /// `exc_info`, `exc_text`, `stack_info` and, since Python 3.12, `taskName`, which are always
    /// None.
    Nothing,
    PathName,
    Process,
    ProcessName,
    RelativeCreated,
    Thread,
    ThreadName,
}

impl Attribute {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "args" => Self::Args,
            "asctime" => Self::Asctime,
            "created" => Self::Created,
            "exc_info" | "exc_text" | "stack_info" | "taskName" => Self::Nothing,
            "filename" => Self::FileName,
            "funcName" => Self::FuncName,
            "levelname" => Self::LevelName,
            "levelno" => Self::LevelNo,
            "lineno" => Self::LineNo,
            "message" => Self::Message,
            "module" => Self::Module,
            "msecs" => Self::Msecs,
            "msg" => Self::Msg,
            "name" => Self::Name,
            "pathname" => Self::PathName,
            "process" => Self::Process,
            "processName" => Self::ProcessName,
            "relativeCreated" => Self::RelativeCreated,
            "thread" => Self::Thread,
            "threadName" => Self::ThreadName,
            _ => return None,
        })
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::LevelNo | Self::LineNo | Self::Process | Self::Thread => Kind::Int,
            Self::Created | Self::Msecs | Self::RelativeCreated => Kind::Float,
            Self::Args | Self::Nothing => Kind::Object,
            Self::Asctime
            | Self::FileName
            | Self::FuncName
            | Self::LevelName
            | Self::Message
            | Self::Module
            | Self::Msg
            | Self::Name
            | Self::PathName
            | Self::ProcessName
            | Self::ThreadName => Kind::Str,
        }
    }
}

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Str,
    Int,
    Float,
    /// A value whose `str` and `repr` are the same text.
    Object,
}
