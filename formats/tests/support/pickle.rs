//! Pickles opcode by opcode.

/// What ends every pickle here.
pub const STOP: &[u8] = b".";

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn text(s: &str) -> Vec<u8> {
    cat(&[b"X", &(s.len() as u32).to_le_bytes(), s.as_bytes()])
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn stack_global(module: &str, name: &str) -> Vec<u8> {
    cat(&[&text(module), &text(name), b"\x93"])
}

/// An eight-byte number.
pub fn int(n: i64) -> Vec<u8> {
    cat(&[b"\x8a\x08", &n.to_le_bytes()])
}

pub fn ints(list: &[i64]) -> Vec<u8> {
    cat(&[b"(", &list.iter().flat_map(|n| int(*n)).collect::<Vec<u8>>(), b"t"])
}

/// The object alone, as protocol 2.
pub fn object(value: &[u8]) -> Vec<u8> {
    cat(&[b"\x80\x02", value, STOP])
}

/// `{"w": value}`.
pub fn state(value: &[u8]) -> Vec<u8> {
    object(&cat(&[b"}", &text("w"), value, b"s"]))
}

/// The storage `key` of so many elements.
pub fn storage(class: &str, key: &str, elements: i64) -> Vec<u8> {
    cat(&[b"(", &text("storage"), &global("torch", class), &text(key), &text("cpu"), &int(elements), b"tQ"])
}

/// A tensor as `_rebuild_tensor_v2` takes it.
pub fn tensor(storage: &[u8], offset: i64, sizes: &[i64], strides: &[i64]) -> Vec<u8> {
    let arguments = [storage, &int(offset), &ints(sizes), &ints(strides), b"\x89N"].concat();
    cat(&[&global("torch._utils", "_rebuild_tensor_v2"), b"(", &arguments, b"tR"])
}

/// The tensor of the archives of these tests: four floats in `data/0`.
pub fn four() -> Vec<u8> {
    tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1])
}

/// A call of `module.name` with a text.
pub fn call(module: &str, name: &str) -> Vec<u8> {
    cat(&[&global(module, name), &text("touch owned"), b"\x85R"])
}
