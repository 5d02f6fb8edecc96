//! Zip archives member by member, every field of which may lie.

/// A member: its name and bytes, and what its two headers say otherwise.
#[derive(Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub local_name: Vec<u8>,
    pub data: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    /// What the directory and the member's own header say of its length.
    pub sizes: [u32; 2],
    pub local_size: u32,
    /// Where the directory puts it, if elsewhere.
    pub offset: Option<u32>,
    pub is_listed: bool,
    pub attributes: u32,
    pub extra: Vec<u8>,
}

pub fn member(name: &str, data: &[u8]) -> Member {
    let size = data.len() as u32;
    Member {
        name: name.into(),
        local_name: name.into(),
        data: data.to_vec(),
        flags: 0,
        method: 0,
        sizes: [size, size],
        local_size: size,
        offset: None,
        is_listed: true,
        attributes: 0,
        extra: Vec::new(),
    }
}

/// The archive of `members`, each behind the one before it.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    let mut listed = 0u16;
    for m in members {
        let offset = m.offset.unwrap_or(out.len() as u32);
        let head = |size: [u32; 2], name: usize, extra: usize| {
            let mut head = Vec::new();
            [20, m.flags, m.method, 0, 0x21].iter().for_each(|x: &u16| head.extend(x.to_le_bytes()));
            head.extend(0u32.to_le_bytes());
            size.iter().for_each(|x| head.extend(x.to_le_bytes()));
            [name as u16, extra as u16].iter().for_each(|x| head.extend(x.to_le_bytes()));
            head
        };
        out.extend(b"PK\x03\x04");
        out.extend(head([m.local_size, m.local_size], m.local_name.len(), 0));
        out.extend(&m.local_name);
        out.extend(&m.data);
        if m.is_listed {
            listed += 1;
            directory.extend(b"PK\x01\x02\x14\x03");
            directory.extend(head(m.sizes, m.name.len(), m.extra.len()));
            directory.extend([0; 6]);
            directory.extend(m.attributes.to_le_bytes());
            directory.extend(offset.to_le_bytes());
            directory.extend(&m.name);
            directory.extend(&m.extra);
        }
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    [listed, listed].iter().for_each(|x| out.extend(x.to_le_bytes()));
    [directory.len() as u32, start].iter().for_each(|x| out.extend(x.to_le_bytes()));
    out.extend([0, 0]);
    out
}
