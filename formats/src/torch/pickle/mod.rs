//! A machine for the pickles of state dicts. It knows the opcodes and the names that they need, and refuses every other
//! by name; it executes nothing, follows no reference, and holds no more than it was allowed.
//! Specification: CPython's `pickletools.py`, protocols 2 to 5; what PyTorch writes: `torch/serialization.py`.

mod globals;
mod opcodes;
mod reduce;
mod value;

pub(super) use globals::Means;
pub(super) use reduce::item;
pub(super) use value::{Heap, Node, Span, Storage, Value, View};

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// The longest key of a storage: PyTorch counts them, or takes an address.
const LONGEST_KEY: usize = 64;
/// The longest name of a module or of what is in it.
const LONGEST_NAME: usize = 256;

/// Where a pickle lies.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub file: &'a Path,
    /// The offset of its first byte in the file.
    pub offset: u64,
    /// The most bytes of memory that it may take.
    pub memory: usize,
}

/// A pickle that was read.
pub struct Unpickled {
    pub heap: Heap,
    pub root: Value,
    /// Its length in bytes.
    pub length: usize,
}

/// Reads the pickle that `pickle` begins with.
///
/// # Errors
/// An opcode or a name that state dicts do not need; values that do not fit together; an end before its STOP.
pub fn read(pickle: &[u8], place: Place<'_>) -> Result<Unpickled> {
    let mut machine = Machine {
        // Offsets in it are kept in 32 bits.
        pickle: &pickle[..pickle.len().min(i32::MAX as usize)],
        place,
        at: 0,
        next: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
    };
    loop {
        machine.at = machine.next;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            break;
        }
        machine.step(opcode)?;
        machine.affords(0)?;
    }
    match machine.stack[..] {
        [root] if machine.marks.is_empty() => {
            Ok(Unpickled { heap: machine.heap, root, length: machine.next })
        }
        _ => Err(machine.invalid("the pickle does not end with one value")),
    }
}

struct Machine<'a> {
    pickle: &'a [u8],
    place: Place<'a>,
    /// Where the opcode stands that is carried out.
    at: usize,
    /// What is read next.
    next: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    heap: Heap,
}

impl Machine<'_> {
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => self.protocol(),
            // Frames are told for readers of streams.
            0x95 => self.take(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'c' | 0x93 => self.global(opcode),
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let value = self.reduce(function, arguments)?;
                self.push(value)
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.add(Node::Storage(storage))
            }
            b'b' => self.build(),
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode),
            b')' | b't' | 0x85..=0x87 => self.tuple(opcode),
            b']' => self.add(Node::List(Vec::new())),
            b'}' => self.add(Node::Dict(Vec::new())),
            b'a' | b'e' | b's' | b'u' => self.fill(opcode),
            _ => {
                let value = self.scalar(opcode)?;
                self.push(value)
            }
        }
    }

    fn protocol(&mut self) -> Result<()> {
        match self.byte()? {
            2..=5 => Ok(()),
            n => Err(self.unsupported("the pickle is of a protocol that is not covered").found(n)),
        }
    }

    /// GLOBAL and STACK_GLOBAL: a name that is known.
    fn global(&mut self, opcode: u8) -> Result<()> {
        let [module, name] = if opcode == b'c' {
            [self.line()?, self.line()?]
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            let (Value::Text(module), Value::Text(name)) = (module, name) else {
                return Err(self.invalid("a name that is no text"));
            };
            [module, name]
        };
        let [module, name] = [self.bytes(module), self.bytes(name)];
        match globals::find(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                let short =
                    |text: &[u8]| String::from_utf8_lossy(&text[..text.len().min(LONGEST_NAME)]).into_owned();
                Err(self
                    .unsupported(
                        "the pickle names what no state dict needs; it is refused and nothing of it was run",
                    )
                    .found(format!("{}.{}", short(module), short(name)))
                    .hint(HINT))
            }
        }
    }

    /// BUILD: attributes of an OrderedDict, such as the `_metadata` of a state dict. They are no weights.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            dict if self.heap.dict(dict).is_some() => Ok(()),
            _ => Err(self
                .unsupported(
                    "the pickle gives a state to what is no dict; it is refused and nothing of it was run",
                )
                .found("the opcode BUILD")
                .hint(HINT)),
        }
    }

    fn memo(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            b'q' | b'h' => u32::from(self.byte()?),
            0x94 => self.memo.len() as u32,
            _ => u32::from_le_bytes(self.array()?),
        };
        if matches!(opcode, b'h' | b'j') {
            let value = self.memo.get(&index).copied();
            return self.push(value.ok_or_else(|| self.invalid("the memo has no such entry").found(index))?);
        }
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn tuple(&mut self, opcode: u8) -> Result<()> {
        let start = match opcode {
            b')' => self.stack.len(),
            b't' => self.unmark()?,
            _ => self.height(usize::from(opcode - 0x84))?,
        };
        let items: Box<[Value]> = self.stack.drain(start..).collect();
        self.add(Node::Tuple(items))
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS.
    fn fill(&mut self, opcode: u8) -> Result<()> {
        let start = match opcode {
            b'a' => self.height(1)?,
            b's' => self.height(2)?,
            _ => self.unmark()?,
        };
        let items = self.stack.split_off(start);
        let container = self.top()?;
        let (is_filled, what) = if matches!(opcode, b'a' | b'e') {
            (self.heap.append(container, &items), "a list")
        } else {
            let (pairs, rest) = items.as_chunks::<2>();
            let filled = self.heap.insert(container, pairs.iter().map(|[key, value]| (*key, *value)));
            (filled && rest.is_empty(), "a dict")
        };
        if is_filled { Ok(()) } else { Err(self.invalid(format!("items are added to what is not {what}"))) }
    }

    /// Opcodes that push one plain value; every other is refused.
    fn scalar(&mut self, opcode: u8) -> Result<Value> {
        Ok(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => {
                let length = self.byte()?;
                self.long(length.into())?
            }
            0x8b => {
                let length = u32::from_le_bytes(self.array()?);
                self.long(length.into())?
            }
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            b'U' | 0x8c => {
                let length = self.byte()?;
                self.text(length.into())?
            }
            b'T' | b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                self.text(length.into())?
            }
            0x8d => {
                let length = u64::from_le_bytes(self.array()?);
                self.text(length)?
            }
            b'C' => {
                let length = self.byte()?;
                self.take(length.into())?;
                Value::Other
            }
            b'B' => {
                let length = u32::from_le_bytes(self.array()?);
                self.take(length.into())?;
                Value::Other
            }
            _ => return Err(self.refused(opcode)),
        })
    }

    fn refused(&self, opcode: u8) -> Error {
        match opcodes::name(opcode) {
            Some(name) => self
                .unsupported(
                    "the pickle does what no state dict needs; it is refused and nothing of it was run",
                )
                .found(format!("the opcode {name}"))
                .hint(HINT),
            None => self.invalid("this is no opcode of a pickle").found(format!("{opcode:#04x}")),
        }
    }

    /// A number, least byte first, of two's complement.
    fn long(&mut self, length: u64) -> Result<Value> {
        let span = self.take(length)?;
        let bytes = self.bytes(span);
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        if bytes.len() > whole.len() {
            return Ok(Value::Long(span));
        }
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    fn text(&mut self, length: u64) -> Result<Value> {
        let span = self.take(length)?;
        match std::str::from_utf8(self.bytes(span)) {
            Ok(_) => Ok(Value::Text(span)),
            Err(_) => Err(self.invalid("a text of the pickle is not UTF-8")),
        }
    }

    /// The bytes of the pickle in `span`, which was taken from it.
    fn bytes(&self, span: Span) -> &[u8] {
        self.pickle.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn take(&mut self, length: u64) -> Result<Span> {
        let start = self.next;
        let end = usize::try_from(length).ok().and_then(|n| start.checked_add(n));
        match end.filter(|end| *end <= self.pickle.len()) {
            Some(end) => {
                self.next = end;
                Ok(Span { start: start as u32, end: end as u32 })
            }
            None => Err(self.short()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.pickle.get(self.next..).and_then(<[u8]>::first_chunk::<N>).copied();
        self.next += N;
        bytes.ok_or_else(|| self.short())
    }

    fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The bytes up to the next line end, which is left out.
    fn line(&mut self) -> Result<Span> {
        let rest = self.pickle.get(self.next..).unwrap_or_default();
        let rest = &rest[..rest.len().min(LONGEST_NAME + 1)];
        match rest.iter().position(|b| *b == b'\n') {
            Some(length) => {
                let span = self.take(length as u64)?;
                self.next += 1;
                Ok(span)
            }
            None if rest.len() > LONGEST_NAME => Err(self.invalid("a name in the pickle is too long")),
            None => Err(self.short()),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.stack.push(value);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<()> {
        let value = self.heap.add(node);
        self.push(value)
    }

    /// The height of the stack without its `n` topmost values, which lie above the last mark.
    fn height(&self, n: usize) -> Result<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack
            .len()
            .checked_sub(n)
            .filter(|height| *height >= floor)
            .ok_or_else(|| self.invalid("the pickle takes a value that it has not made"))
    }

    fn pop(&mut self) -> Result<Value> {
        let height = self.height(1)?;
        let value = self.stack[height];
        self.stack.truncate(height);
        Ok(value)
    }

    fn top(&self) -> Result<Value> {
        self.height(1).map(|height| self.stack[height])
    }

    fn unmark(&mut self) -> Result<usize> {
        self.marks.pop().ok_or_else(|| self.invalid("the pickle lacks a mark"))
    }

    /// Refuses more values than fit the memory, `more` pairs that are to be made among them.
    fn affords(&self, more: usize) -> Result<()> {
        const ENTRY: usize = 2 * size_of::<(u32, Value)>();
        let held = self.stack.len() * size_of::<Value>()
            + self.marks.len() * size_of::<usize>()
            + self.memo.len() * ENTRY
            + self.heap.bytes()
            + more.saturating_mul(value::PAIR);
        if held <= self.place.memory {
            return Ok(());
        }
        Err(self
            .unsupported("the pickle makes more values than a state dict of this size needs")
            .expected(format!("at most {} bytes of memory", self.place.memory))
            .hint(HINT))
    }

    fn short(&self) -> Error {
        self.invalid("the pickle ends before its end")
            .hint("the file is truncated or damaged: copy or download it again")
    }

    fn invalid(&self, what: impl Into<String>) -> Error {
        Error::invalid(what).file(self.place.file).offset(self.place.offset + self.at as u64)
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::unsupported(what).file(self.place.file).offset(self.place.offset + self.at as u64)
    }
}

/// What can be done about a pickle that is refused.
const HINT: &str = "use the model's safetensors files; or, if you trust this file, load it in PyTorch and save its state \
                    dict alone";
