//! What a pickle of a state dict is made of. Values are small and copied; what is larger lies on a heap that is counted,
//! so that neither a bomb of tuples nor one of memos takes more memory than the file's length allows.

use crate::quant::DType;

/// One value. Texts and long numbers are places in the pickle, not copies of it.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number of more than eight bytes, least first.
    Long(Span),
    Text(Span),
    /// What no tensor is made of: floats, bytes.
    Other,
    Global(&'static super::globals::Global),
    /// A place on the heap.
    Node(u32),
}

/// Bytes of the pickle.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// What values refer to.
#[derive(Debug)]
pub enum Node {
    Tuple(Box<[Value]>),
    List(Vec<Value>),
    /// A dict or an OrderedDict: keys and values in the order in which they were set.
    Dict(Vec<(Value, Value)>),
    Storage(Storage),
    Tensor(Box<View>),
}

/// The elements that tensors are views of: one member of an archive, or one part of a legacy file.
#[derive(Clone, Copy, Debug)]
pub struct Storage {
    pub key: Span,
    /// None: bytes, of which each tensor says what they are.
    pub dtype: Option<DType>,
    /// The number of elements, of an untyped one that of bytes.
    pub elements: u64,
}

/// A tensor: dimensions and strides in elements, the longest first as PyTorch has them.
#[derive(Clone, Debug)]
pub struct View {
    pub storage: Storage,
    pub dtype: DType,
    pub offset: u64,
    pub sizes: Vec<u64>,
    pub strides: Vec<u64>,
}

/// Everything that values refer to.
#[derive(Debug, Default)]
pub struct Heap {
    nodes: Vec<Node>,
    bytes: usize,
}

/// What an allocation costs beside what it holds.
const ALLOCATION: usize = 16;
/// What a pair of a dict costs: it may become a tensor with a name.
pub const PAIR: usize = 256;

impl Heap {
    /// The memory that is held, nearly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn add(&mut self, node: Node) -> Value {
        let more = match &node {
            Node::Tuple(items) => ALLOCATION + size_of_val(&**items),
            Node::List(items) => ALLOCATION + size_of_val(&**items),
            Node::Dict(pairs) => ALLOCATION + PAIR * pairs.len(),
            Node::Storage(_) => 0,
            Node::Tensor(view) => {
                3 * ALLOCATION + size_of::<View>() + 8 * (view.sizes.len() + view.strides.len())
            }
        };
        self.bytes += size_of::<Node>() + more;
        self.nodes.push(node);
        // The heap is far smaller than 4 Gi nodes: a pickle has at most so many bytes.
        Value::Node((self.nodes.len() - 1) as u32)
    }

    pub fn get(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(i) => self.nodes.get(i as usize),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.get(value)? {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.get(value)? {
            Node::Tuple(items) => Some(items),
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a dict.
    pub fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.get(value)? {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub fn tensor(&self, value: Value) -> Option<&View> {
        match self.get(value)? {
            Node::Tensor(view) => Some(view),
            _ => None,
        }
    }

    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// Adds to a list; false if it is none.
    pub fn append(&mut self, list: Value, items: &[Value]) -> bool {
        let Value::Node(i) = list else { return false };
        let Some(Node::List(all)) = self.nodes.get_mut(i as usize) else { return false };
        self.bytes += size_of_val(items);
        all.extend_from_slice(items);
        true
    }

    /// Adds to a dict; false if it is none.
    pub fn insert(&mut self, dict: Value, pairs: impl ExactSizeIterator<Item = (Value, Value)>) -> bool {
        let Value::Node(i) = dict else { return false };
        let Some(Node::Dict(all)) = self.nodes.get_mut(i as usize) else { return false };
        self.bytes += PAIR * pairs.len();
        all.extend(pairs);
        true
    }
}
