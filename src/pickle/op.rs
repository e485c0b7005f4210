//! The opcodes under Python's names, in the order of Python's `pickle.py`.

/// Push a mark onto the stack.
pub const MARK: u8 = b'(';
/// Every pickle ends with STOP; the topmost object is the result.
pub const STOP: u8 = b'.';
/// Discard the topmost object, or the topmost mark if nothing stands above it.
pub const POP: u8 = b'0';
/// Discard everything down to and including the topmost mark.
pub const POP_MARK: u8 = b'1';
/// Push the topmost object once more.
pub const DUP: u8 = b'2';
/// Push a float; a line of decimal text.
pub const FLOAT: u8 = b'F';
/// Push an int or a bool; a line of decimal text.
pub const INT: u8 = b'I';
/// Push an int; four bytes, signed.
pub const BININT: u8 = b'J';
/// Push an int; one byte.
pub const BININT1: u8 = b'K';
/// Push an int of any size; a line of decimal text, usually with an L at its end.
pub const LONG: u8 = b'L';
/// Push an int; two bytes, unsigned.
pub const BININT2: u8 = b'M';
/// Push None.
pub const NONE: u8 = b'N';
/// Push an object that is known by a persistent id; a line of text.
pub const PERSID: u8 = b'P';
/// Push an object that is known by a persistent id; the id is taken from the stack.
pub const BINPERSID: u8 = b'Q';
/// Call the object below the topmost tuple, with that tuple as its arguments.
pub const REDUCE: u8 = b'R';
/// Push a Python 2 str; a quoted and escaped line.
pub const STRING: u8 = b'S';
/// Push a Python 2 str; four bytes of length.
pub const BINSTRING: u8 = b'T';
/// Push a Python 2 str; one byte of length.
pub const SHORT_BINSTRING: u8 = b'U';
/// Push a str; a line in the raw-unicode-escape encoding.
pub const UNICODE: u8 = b'V';
/// Push a str; four bytes of length, UTF-8.
pub const BINUNICODE: u8 = b'X';
/// Append the topmost object to the list below it.
pub const APPEND: u8 = b'a';
/// Give the topmost object as state to the object below, by `__setstate__` or by updating
/// `__dict__`.
pub const BUILD: u8 = b'b';
/// Push a class or another global; two lines, module and name.
pub const GLOBAL: u8 = b'c';
/// Build a dict from everything above the topmost mark.
pub const DICT: u8 = b'd';
/// Push an empty dict.
pub const EMPTY_DICT: u8 = b'}';
/// Append everything above the topmost mark to the list below the mark.
pub const APPENDS: u8 = b'e';
/// Push an entry of the memo; a line of decimal text.
pub const GET: u8 = b'g';
/// Push an entry of the memo; one byte.
pub const BINGET: u8 = b'h';
/// Build an instance; two lines name the class, the arguments are above the topmost mark.
pub const INST: u8 = b'i';
/// Push an entry of the memo; four bytes.
pub const LONG_BINGET: u8 = b'j';
/// Build a list from everything above the topmost mark.
pub const LIST: u8 = b'l';
/// Push an empty list.
pub const EMPTY_LIST: u8 = b']';
/// Build an instance; the class and its arguments are above the topmost mark.
pub const OBJ: u8 = b'o';
/// Store the topmost object in the memo; a line of decimal text.
pub const PUT: u8 = b'p';
/// Store the topmost object in the memo; one byte.
pub const BINPUT: u8 = b'q';
/// Store the topmost object in the memo; four bytes.
pub const LONG_BINPUT: u8 = b'r';
/// Add a key and a value to the dict below them.
pub const SETITEM: u8 = b's';
/// Build a tuple from everything above the topmost mark.
pub const TUPLE: u8 = b't';
/// Push an empty tuple.
pub const EMPTY_TUPLE: u8 = b')';
/// Add the keys and values above the topmost mark to the dict below the mark.
pub const SETITEMS: u8 = b'u';
/// Push a float; eight bytes, big-endian.
pub const BINFLOAT: u8 = b'G';

/// Protocol 2: name the protocol; one byte.
pub const PROTO: u8 = 0x80;
/// Protocol 2: `cls.__new__(cls, *args)` from class and tuple.
pub const NEWOBJ: u8 = 0x81;
/// Protocol 2: push an object from the extension registry; one byte.
pub const EXT1: u8 = 0x82;
/// Protocol 2: push an object from the extension registry; two bytes.
pub const EXT2: u8 = 0x83;
/// Protocol 2: push an object from the extension registry; four bytes.
pub const EXT4: u8 = 0x84;
/// Protocol 2: build a tuple from the topmost object.
pub const TUPLE1: u8 = 0x85;
/// Protocol 2: build a tuple from the two topmost objects.
pub const TUPLE2: u8 = 0x86;
/// Protocol 2: build a tuple from the three topmost objects.
pub const TUPLE3: u8 = 0x87;
/// Protocol 2: push True.
pub const NEWTRUE: u8 = 0x88;
/// Protocol 2: push False.
pub const NEWFALSE: u8 = 0x89;
/// Protocol 2: push an int; one byte of length, little-endian two's complement.
pub const LONG1: u8 = 0x8a;
/// Protocol 2: push an int; four bytes of length, little-endian two's complement.
pub const LONG4: u8 = 0x8b;

/// Protocol 3: push bytes; four bytes of length.
pub const BINBYTES: u8 = b'B';
/// Protocol 3: push bytes; one byte of length.
pub const SHORT_BINBYTES: u8 = b'C';

/// Protocol 4: push a str; one byte of length, UTF-8.
pub const SHORT_BINUNICODE: u8 = 0x8c;
/// Protocol 4: push a str; eight bytes of length, UTF-8.
pub const BINUNICODE8: u8 = 0x8d;
/// Protocol 4: push bytes; eight bytes of length.
pub const BINBYTES8: u8 = 0x8e;
/// Protocol 4: push an empty set.
pub const EMPTY_SET: u8 = 0x8f;
/// Protocol 4: add everything above the topmost mark to the set below the mark.
pub const ADDITEMS: u8 = 0x90;
/// Protocol 4: build a frozenset from everything above the topmost mark.
pub const FROZENSET: u8 = 0x91;
/// Protocol 4: `cls.__new__(cls, *args, **kwargs)` from class, tuple and dict.
pub const NEWOBJ_EX: u8 = 0x92;
/// Protocol 4: push the global whose module and name are on the stack.
pub const STACK_GLOBAL: u8 = 0x93;
/// Protocol 4: store the topmost object in the memo; the index is the number of entries.
pub const MEMOIZE: u8 = 0x94;
/// Protocol 4: begin a frame; eight bytes of length.
pub const FRAME: u8 = 0x95;

/// Protocol 5: push a bytearray; eight bytes of length.
pub const BYTEARRAY8: u8 = 0x96;
/// Protocol 5: push the next out-of-band buffer.
pub const NEXT_BUFFER: u8 = 0x97;
/// Protocol 5: make the topmost object read-only.
pub const READONLY_BUFFER: u8 = 0x98;
