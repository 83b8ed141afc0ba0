//! Reads the pickle inside a PyTorch file, able to make tensors and nothing else.
//!
//! A pickle is a program for a small stack machine that may call any Python function. This machine
//! knows the opcodes that `torch.save` emits for nested dictionaries of tensors, the few globals
//! they need, and no other: an unknown opcode or global ends the reading with its name. Nothing
//! is ever called; "calls" only build the nodes below.
//! Opcodes: CPython `Lib/pickletools.py`. Globals and their arguments: PyTorch `torch/_utils.py`
//! and `torch/serialization.py`.
//!
//! Values live in one list and refer to each other by index, so a pickle that nests without end or
//! contains itself costs no recursion here and is freed at once. Whoever walks the result must
//! bound the walk: it may be a graph with cycles.

use std::collections::HashMap;

use super::{Dtype, Problem};

/// Kokoro's own pickle has some 10,000 nodes.
const MAX_NODES: usize = 1 << 20;
const MAX_STACK: usize = 1 << 16;
const MAX_MARKS: usize = 64;
const MAX_DIMS: usize = 8;

pub(super) type Idx = u32;

/// One value; text borrows from the pickle.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// None, a number, a truth: nothing that can hold a tensor.
    Scalar,
    Int(i64),
    Text(&'a str),
    Global(Global),
    Tuple(Vec<Idx>),
    Dict(Vec<(Idx, Idx)>),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
}

/// The names that may appear; all others are refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Global {
    RebuildTensor,
    OrderedDict,
    Storage(Dtype),
}

/// A member of the archive that holds the numbers of tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) dtype: Dtype,
    pub(super) key: &'a str,
    pub(super) n_elements: u64,
}

/// A view on a storage; offset, sizes and strides count elements and lie within the storage.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// All values that the pickle made, and which of them it returned.
#[derive(Debug)]
pub(super) struct Pickled<'a> {
    nodes: Vec<Node<'a>>,
    pub(super) root: Idx,
}

impl<'a> Pickled<'a> {
    pub(super) fn node(&self, idx: Idx) -> &Node<'a> {
        &self.nodes[idx as usize]
    }
}

/// Runs the pickle to its end.
pub(super) fn read(bytes: &[u8]) -> Result<Pickled<'_>, Problem> {
    let mut machine = Machine { input: bytes, ..Machine::default() };
    loop {
        if let Some(root) = machine.step()? {
            return Ok(Pickled { nodes: machine.nodes, root });
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    input: &'a [u8],
    nodes: Vec<Node<'a>>,
    stack: Vec<Idx>,
    marks: Vec<usize>,
    memo: HashMap<u32, Idx>,
}

impl<'a> Machine<'a> {
    /// One opcode; the returned value at the last.
    fn step(&mut self) -> Result<Option<Idx>, Problem> {
        let opcode = self.take(1)?[0];
        match opcode {
            // PROTO
            0x80 => {
                let version = self.take(1)?[0];
                if version != 2 {
                    return Err(bad(format!("pickle protocol {version}, only 2 is read here")));
                }
            }
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b'N' | 0x88 | 0x89 => self.push(Node::Scalar)?,
            b'(' => {
                if self.marks.len() == MAX_MARKS {
                    return Err(Problem::limit(
                        "pickle nesting",
                        MAX_MARKS as u64 + 1,
                        MAX_MARKS as u64,
                    ));
                }
                self.marks.push(self.stack.len());
            }
            b'X' => {
                let n_bytes = self.number(4)?;
                let text = self.take(n_bytes as usize)?;
                let text = std::str::from_utf8(text).map_err(|_| bad("text that is not UTF-8"))?;
                self.push(Node::Text(text))?;
            }
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Node::Int(number.into()))?;
            }
            b'K' => {
                let number = self.number(1)?;
                self.push(Node::Int(number as i64))?;
            }
            b'M' => {
                let number = self.number(2)?;
                self.push(Node::Int(number as i64))?;
            }
            // LONG1: a two's complement number of any length up to 255 bytes
            0x8a => {
                let n_bytes = usize::from(self.take(1)?[0]);
                let bytes = self.take(n_bytes)?;
                if n_bytes > 8 {
                    return Err(bad("a number beyond 64 bits"));
                }
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..n_bytes].copy_from_slice(bytes);
                self.push(Node::Int(i64::from_le_bytes(wide)))?;
            }
            b'q' => {
                let key = self.number(1)?;
                self.memorise(key as u32)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.memorise(key as u32)?;
            }
            b'h' => {
                let key = self.number(1)?;
                self.recall(key as u32)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key as u32)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(global(module, name)?))?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Node::Tuple(items))?;
            }
            0x85..=0x87 => {
                let n_items = usize::from(opcode - 0x84);
                let start = self.above_mark(n_items)?;
                let items = self.stack.split_off(start);
                self.push(Node::Tuple(items))?;
            }
            b's' => {
                let start = self.above_mark(2)?;
                let items = self.stack.split_off(start);
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Node::Storage(storage))?;
            }
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let made = self.build(function, arguments)?;
                self.push(made)?;
            }
            // BUILD: the attributes of an OrderedDict, of which PyTorch keeps version numbers
            // there; they change nothing for us.
            b'b' => {
                self.pop()?;
                let target = self.top()?;
                if !matches!(self.nodes[target as usize], Node::Dict(_)) {
                    return Err(bad("attributes set on something that is no dictionary"));
                }
            }
            b'.' => {
                let root = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() || !self.input.is_empty() {
                    return Err(bad("something left over at the end of the pickle"));
                }
                return Ok(Some(root));
            }
            _ => {
                return Err(bad(format!(
                    "pickle opcode {opcode:#04x}, which tensors do not need and is refused here"
                )));
            }
        }
        Ok(None)
    }

    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], Problem> {
        let (piece, rest) = self
            .input
            .split_at_checked(n_bytes)
            .ok_or_else(|| bad("a pickle that is cut short"))?;
        self.input = rest;
        Ok(piece)
    }

    fn number(&mut self, n_bytes: usize) -> Result<u64, Problem> {
        Ok(self.take(n_bytes)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Result<&'a str, Problem> {
        let n_bytes = self.input.iter().position(|&byte| byte == b'\n');
        let line = self.take(n_bytes.ok_or_else(|| bad("a pickle that is cut short"))?)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| bad("text that is not UTF-8"))
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Problem> {
        if self.nodes.len() == MAX_NODES {
            return Err(Problem::limit(
                "number of pickled values",
                MAX_NODES as u64 + 1,
                MAX_NODES as u64,
            ));
        }
        self.nodes.push(node);
        self.push_idx(self.nodes.len() as Idx - 1)
    }

    fn push_idx(&mut self, idx: Idx) -> Result<(), Problem> {
        if self.stack.len() == MAX_STACK {
            return Err(Problem::limit(
                "depth of the pickle stack",
                MAX_STACK as u64 + 1,
                MAX_STACK as u64,
            ));
        }
        self.stack.push(idx);
        Ok(())
    }

    /// The stack height at which the top `n_items` begin, all of them above the last mark.
    fn above_mark(&self, n_items: usize) -> Result<usize, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(n_items).filter(|&start| start >= floor);
        start.ok_or_else(|| bad("a pickle that takes from an empty stack"))
    }

    fn top(&self) -> Result<Idx, Problem> {
        self.above_mark(1).map(|at| self.stack[at])
    }

    fn pop(&mut self) -> Result<Idx, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Idx>, Problem> {
        let mark = self.marks.pop().ok_or_else(|| bad("a pickle that lacks a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn memorise(&mut self, key: u32) -> Result<(), Problem> {
        if self.memo.len() == MAX_NODES {
            return Err(Problem::limit(
                "size of the pickle memo",
                MAX_NODES as u64 + 1,
                MAX_NODES as u64,
            ));
        }
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Problem> {
        let idx = self.memo.get(&key).copied();
        self.push_idx(idx.ok_or_else(|| bad("a pickle that recalls what it never stored"))?)
    }

    fn set_items(&mut self, items: &[Idx]) -> Result<(), Problem> {
        let dict = self.top()?;
        let Node::Dict(entries) = &mut self.nodes[dict as usize] else {
            return Err(bad("items set on something that is no dictionary"));
        };
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(bad("a dictionary key without a value"));
        };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    /// `('storage', torch.FloatStorage, key, location, n_elements)`
    fn storage(&self, id: Idx) -> Result<Storage<'a>, Problem> {
        if let Node::Tuple(items) = &self.nodes[id as usize]
            && let [kind, dtype, key, location, n_elements] = items[..]
            && let Node::Text("storage") = self.nodes[kind as usize]
            && let Node::Global(Global::Storage(dtype)) = self.nodes[dtype as usize]
            && let Node::Text(key) = self.nodes[key as usize]
            && let Node::Text(_) = self.nodes[location as usize]
            && let Node::Int(n_elements) = self.nodes[n_elements as usize]
            && let Ok(n_elements) = u64::try_from(n_elements)
        {
            return Ok(Storage { dtype, key, n_elements });
        }
        Err(bad("a reference to a storage that cannot be understood"))
    }

    fn build(&self, function: Idx, arguments: Idx) -> Result<Node<'a>, Problem> {
        let Node::Global(function) = self.nodes[function as usize] else {
            return Err(bad("a call of something that is no function"));
        };
        let Node::Tuple(arguments) = &self.nodes[arguments as usize] else {
            return Err(bad("a call without an argument tuple"));
        };
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => Ok(Node::Dict(Vec::new())),
            // Then: requires_grad, backward_hooks and, sometimes, metadata; none changes numbers.
            (Global::RebuildTensor, [storage, offset, shape, strides, _, _])
            | (Global::RebuildTensor, [storage, offset, shape, strides, _, _, _]) => {
                let Node::Storage(storage) = self.nodes[*storage as usize] else {
                    return Err(bad("a tensor without a storage"));
                };
                let [offset] = self.sizes(&[*offset])?[..] else { unreachable!("one in, one out") };
                let (shape, strides) =
                    (self.tuple_of_sizes(*shape)?, self.tuple_of_sizes(*strides)?);
                check_view(storage.n_elements, offset, &shape, &strides)?;
                Ok(Node::Tensor(Tensor { storage, offset, shape, strides }))
            }
            _ => Err(bad("a call with arguments that tensors do not have")),
        }
    }

    fn tuple_of_sizes(&self, idx: Idx) -> Result<Vec<usize>, Problem> {
        let Node::Tuple(items) = &self.nodes[idx as usize] else {
            return Err(bad("a tensor whose shape is no tuple"));
        };
        if items.len() > MAX_DIMS {
            return Err(Problem::limit(
                "number of dimensions",
                items.len() as u64,
                MAX_DIMS as u64,
            ));
        }
        self.sizes(items)
    }

    fn sizes(&self, items: &[Idx]) -> Result<Vec<usize>, Problem> {
        let size = |&item: &Idx| match self.nodes[item as usize] {
            Node::Int(size) => usize::try_from(size).ok(),
            _ => None,
        };
        let sizes = items.iter().map(size).collect::<Option<_>>();
        sizes.ok_or_else(|| bad("a tensor with a size, stride or offset that is no natural number"))
    }
}

/// Whether every element lies within the storage, and there are no more of them than it holds: a
/// stride of zero could otherwise make terabytes of a few bytes.
fn check_view(
    n_stored: u64,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Result<(), Problem> {
    if shape.len() != strides.len() {
        return Err(bad("a tensor with more or fewer strides than dimensions"));
    }
    let outside = || bad("a tensor that reaches outside its storage");
    let n_stored = usize::try_from(n_stored).map_err(|_| outside())?;
    let n_elements = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let n_elements = n_elements.filter(|&n| n <= n_stored).ok_or_else(outside)?;
    if n_elements == 0 && offset <= n_stored {
        return Ok(());
    }
    let last = shape.iter().zip(strides).try_fold(offset, |last, (&size, &stride)| {
        last.checked_add(size.checked_sub(1)?.checked_mul(stride)?)
    });
    last.filter(|&last| last < n_stored).map(|_| ()).ok_or_else(outside)
}

fn global(module: &str, name: &str) -> Result<Global, Problem> {
    Ok(match (module, name) {
        ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::Bf16),
        ("torch", "DoubleStorage") => Global::Storage(Dtype::Other("float64", 8)),
        ("torch", "LongStorage") => Global::Storage(Dtype::Other("int64", 8)),
        ("torch", "IntStorage") => Global::Storage(Dtype::Other("int32", 4)),
        ("torch", "BoolStorage") => Global::Storage(Dtype::Other("bool", 1)),
        _ => {
            return Err(bad(format!(
                "it wants to call {module}.{name}, which no checkpoint of tensors needs; \
                 do not trust this file"
            )));
        }
    })
}

fn bad(what: impl Into<String>) -> Problem {
    Problem::malformed(what)
}
