//! Files of PyTorch that were made to harm: each known trick of pickles and of zip archives. All are refused by name, none
//! runs anything, and none takes 64 MiB or a second. This binary counts what it allocates, so its tests take turns.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/pickle.rs"]
mod pickle;
#[path = "support/zip.rs"]
mod zip;

use counting::{counted, turn};
use ggraft_formats::{Input, Kind, open};
use pickle::{STOP, call, cat, four, global, int, ints, object, stack_global, state, storage, tensor, text};
use std::path::Path;
use std::time::Duration;
use zip::{Member, archive, member};

/// The most memory and time of a thread that a file may cost.
const MEMORY: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(2);

/// Opens files in a folder of its own and remembers the worst that any cost.
struct Bench {
    dir: tempfile::TempDir,
    memory: usize,
    time: Duration,
    refused: usize,
}

impl Bench {
    fn new() -> Bench {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Bench { dir: dir.unwrap(), memory: 0, time: Duration::ZERO, refused: 0 }
    }

    /// The error of a file, if it is refused; every row of what is not is read.
    fn open(&mut self, bytes: &[u8]) -> Option<(Kind, String)> {
        let path = self.dir.path().join("x.bin");
        // A file that is mapped is never shortened: it is replaced.
        _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).unwrap();
        let start = cpu_time::ThreadTime::now();
        let (opened, memory) = counted(|| open(&path));
        self.time = self.time.max(start.elapsed());
        self.memory = self.memory.max(memory);
        match opened {
            Err(e) => {
                self.refused += 1;
                Some((e.kind(), e.to_string()))
            }
            Ok(Input::Model(_)) => panic!("a checkpoint"),
            Ok(Input::Checkpoint(checkpoint)) => {
                for t in &checkpoint.tensors {
                    assert!(t.bytes() <= bytes.len() as u64, "{t:?}");
                    let rows = t.shape().rows() as usize;
                    t.read(0..rows, &mut vec![0; t.bytes() as usize]).unwrap();
                }
                None
            }
        }
    }

    #[track_caller]
    fn refused(&mut self, name: &str, bytes: &[u8], reason: &str) {
        let (kind, text) = self.open(bytes).unwrap_or_else(|| panic!("{name} is accepted"));
        assert!(matches!(kind, Kind::Invalid | Kind::Unsupported), "{name}: {text}");
        assert!(text.contains("x.bin: ") && text.contains(reason), "{name}: {text}");
    }

    #[track_caller]
    fn done(self) {
        println!("{} refused, at most {} bytes and {:?}", self.refused, self.memory, self.time);
        assert!(self.memory < MEMORY, "{}", self.memory);
        assert!(self.time < TIME, "{:?}", self.time);
        assert_eq!(std::fs::read_dir(self.dir.path()).unwrap().count(), 1, "nothing is made beside the file");
        assert!(!Path::new("owned").exists());
    }
}

/// The archive of torch around a pickle.
fn members(pickle: &[u8]) -> Vec<Member> {
    vec![
        member("x/data.pkl", pickle),
        member("x/byteorder", b"little"),
        member("x/data/0", &[1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat()),
        member("x/version", b"3\n"),
    ]
}

fn zipped(pickle: &[u8]) -> Vec<u8> {
    archive(&members(pickle))
}

/// The legacy form around a pickle.
fn legacy(pickle: &[u8], data: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let machine = object(&cat(&[b"}", &text("little_endian"), b"\x88s"]));
    cat(&[head, &machine, pickle, data])
}

/// The list of one key, and four floats.
fn legacy_data(key: &str, elements: u64) -> Vec<u8> {
    let keys = object(&cat(&[b"](", &text(key), b"e"]));
    cat(&[&keys, &elements.to_le_bytes(), &[0; 16]])
}

#[test]
fn what_the_hostile_ones_are_made_of_is_sound() {
    let _turn = turn();
    let mut bench = Bench::new();
    assert_eq!(bench.open(&zipped(&state(&four()))), None);
    assert_eq!(bench.open(&legacy(&state(&four()), &legacy_data("0", 4))), None);
    let frame = cat(&[b"\x80\x04\x95", &[0; 8], b"}", b"\x8c\x01w\x94", &four(), b"s."]);
    assert_eq!(bench.open(&zipped(&frame)), None);
    // Protocol 2 of Python 2 writes an OrderedDict as a call with a list of pairs.
    let pairs = cat(&[&global("collections", "OrderedDict"), b"](](U\x01w", &four(), b"ee\x85R"]);
    assert_eq!(bench.open(&zipped(&object(&pairs))), None);
    bench.done();
}

#[test]
fn every_name_that_no_state_dict_needs_is_refused_by_name() {
    let _turn = turn();
    let mut bench = Bench::new();
    let names = [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "eval"),
        ("subprocess", "Popen"),
        ("subprocess", "check_output"),
        ("runpy", "_run_code"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("operator", "methodcaller"),
        ("webbrowser", "open"),
        ("bdb", "Bdb.run"),
        ("pip", "main"),
        ("importlib", "import_module"),
        ("copyreg", "_reconstructor"),
        ("copy_reg", "_reconstructor"),
        ("copyreg", "add_extension"),
        ("pickle", "loads"),
        ("marshal", "loads"),
        ("types", "FunctionType"),
        ("types", "CodeType"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.testing._private.utils", "runstring"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.serialization", "load"),
        ("torch.utils._config_module", "load_config"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("torch._utils", "_rebuild_qtensor"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch.jit._script", "wrap"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("collections", "ordereddict"),
        ("collections.OrderedDict", ""),
        ("", ""),
        ("__main__", "Payload"),
    ];
    for (module, name) in names {
        let reason = format!("found {module}.{name} ");
        let found = format!("found {module}.{name};");
        for pickle in [
            state(&call(module, name)),
            state(&cat(&[&stack_global(module, name), b")R"])),
            // Named only, and never called.
            state(&cat(&[b"(", &global(module, name), &four(), b"t"])),
            // In the attributes of a dict, and as the hooks of a tensor.
            object(&cat(&[&global("collections", "OrderedDict"), b")R}", &call(module, name), b"b"])),
        ] {
            for file in [zipped(&pickle), legacy(&pickle, &legacy_data("0", 4))] {
                let (kind, text) = bench.open(&file).unwrap();
                assert_eq!(kind, Kind::Unsupported, "{text}");
                assert!(text.contains(&found) || text.contains(&reason), "{text}");
                assert!(text.contains("it is refused and nothing of it was run"), "{text}");
            }
        }
    }
    bench.done();
}

#[test]
fn every_opcode_that_no_state_dict_needs_is_refused_by_name() {
    let _turn = turn();
    let mut bench = Bench::new();
    let dict = cat(&[&global("collections", "OrderedDict"), b")R"]);
    let class = global("collections", "OrderedDict");
    let opcodes: [(&str, Vec<u8>); 31] = [
        ("INST", b"(ios\nsystem\n".to_vec()),
        ("OBJ", cat(&[b"(", &class, b"o"])),
        ("NEWOBJ", cat(&[&class, b")\x81"])),
        ("NEWOBJ_EX", cat(&[&class, b")}\x92"])),
        ("BUILD", cat(&[&four(), b"}b"])),
        ("BUILD", cat(&[&class, b"}b"])),
        ("BUILD", cat(&[b"]", &dict, b"b"])),
        ("BUILD", cat(&[&storage("FloatStorage", "0", 4), b"Nb"])),
        ("EXT1", b"\x82\x01".to_vec()),
        ("EXT2", b"\x83\x01\0".to_vec()),
        ("EXT4", b"\x84\x01\0\0\0".to_vec()),
        ("PERSID", b"P0\n".to_vec()),
        ("POP", b"N0".to_vec()),
        ("POP_MARK", b"(1".to_vec()),
        ("DUP", b"N2".to_vec()),
        ("DICT", b"(d".to_vec()),
        ("LIST", b"(l".to_vec()),
        ("EMPTY_SET", b"\x8f".to_vec()),
        ("ADDITEMS", b"\x90".to_vec()),
        ("FROZENSET", b"(\x91".to_vec()),
        ("BINBYTES8", b"\x8e\0\0\0\0\0\0\0\0".to_vec()),
        ("BYTEARRAY8", b"\x96\0\0\0\0\0\0\0\0".to_vec()),
        ("NEXT_BUFFER", b"\x97".to_vec()),
        ("READONLY_BUFFER", b"\x98".to_vec()),
        ("INT", b"I1\n".to_vec()),
        ("LONG", b"L1L\n".to_vec()),
        ("STRING", b"S'x'\n".to_vec()),
        ("UNICODE", b"Vx\n".to_vec()),
        ("FLOAT", b"F1\n".to_vec()),
        ("GET", b"g0\n".to_vec()),
        ("PUT", b"Np0\n".to_vec()),
    ];
    for (name, opcode) in &opcodes {
        bench.refused(name, &zipped(&state(opcode)), &format!(": found the opcode {name};"));
    }
    bench.refused("no opcode", &zipped(&state(b"\xff")), "this is no opcode of a pickle (at byte");
    bench.refused("protocol 9", &zipped(b"\x80\x09N."), "a protocol that is not covered");
    bench.refused("protocol 0", &zipped(b"(dp0\n."), "found the opcode DICT");
    bench.done();
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    let _turn = turn();
    let mut bench = Bench::new();
    let dict = global("collections", "OrderedDict");
    let rebuild = global("torch._utils", "_rebuild_tensor_v2");
    let from_type = global("torch._tensor", "_rebuild_from_type_v2");
    let parameter = global("torch._utils", "_rebuild_parameter");
    let id = |parts: &[&[u8]]| cat(&[b"(", &parts.concat(), b"tQ"]);
    let (kind, float) = (text("storage"), global("torch", "FloatStorage"));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a text is called", cat(&[&text("os.system"), b")R"]), "calls what is no function"),
        ("a storage is called", cat(&[&storage("FloatStorage", "0", 4), b")R"]), "calls what is no function"),
        ("a dtype is called", cat(&[&global("torch", "float32"), b")R"]), "does not take"),
        ("a class is called", cat(&[&global("torch", "Tensor"), b")R"]), "does not take"),
        ("no tuple", cat(&[&dict, b"]R"]), "does not take"),
        ("a dict of a number", cat(&[&dict, b"K\x01\x85R"]), "does not take"),
        ("a dict of triples", cat(&[&dict, b"]NNN\x87a\x85R"]), "does not take"),
        ("a size of a text", cat(&[&global("torch", "Size"), &text("x"), b"\x85R"]), "does not take"),
        ("a tensor of nothing", cat(&[&rebuild, b")R"]), "found torch._utils._rebuild_tensor_v2"),
        ("a tensor of no storage", tensor(b"N", 0, &[4], &[1]), "does not take"),
        ("a parameter of a text", cat(&[&parameter, &text("x"), b"\x88N\x87R"]), "does not take"),
        ("a type of a function", cat(&[&from_type, b"(", &dict, &dict, b")NtR"]), "does not take"),
        (
            "a type of itself",
            cat(&[&from_type, b"(", &from_type, &global("torch", "Tensor"), b")NtR"]),
            "does not take",
        ),
        ("a persistent number", b"K\x00Q".to_vec(), "a persistent id names no storage"),
        ("a persistent text", cat(&[&text("0"), b"Q"]), "names no storage"),
        ("a module", id(&[&text("module"), &dict, &text("x.py"), &text("source"), b"N"]), "names no storage"),
        (
            "a storage of another type",
            id(&[&kind, &dict, &text("0"), &text("cpu"), b"K\x04"]),
            "names no storage",
        ),
        (
            "a storage of a text",
            id(&[&kind, &text("x"), &text("0"), &text("cpu"), b"K\x04"]),
            "names no storage",
        ),
        ("a negative storage", storage("FloatStorage", "0", -4), "names no storage"),
        ("a storage without end", storage("FloatStorage", "0", i64::MAX), "than any can be"),
        (
            "a path as a key",
            storage("FloatStorage", "../../../etc/passwd", 4),
            "the member data/../../../etc/passwd",
        ),
        ("a long key", storage("FloatStorage", &"0".repeat(99), 4), "than any can be"),
        (
            "a view of a storage",
            id(&[&kind, &float, &text("0"), &text("cpu"), b"K\x04K\x01K\x01K\x01\x87"]),
            "views of storages",
        ),
        ("a list that is none", b"}Na".to_vec(), "added to what is not a list"),
        ("a dict that is none", b"]NNs".to_vec(), "added to what is not a dict"),
        ("a key without a value", b"}(Nu".to_vec(), "added to what is not a dict"),
        ("an empty stack", b"sssss".to_vec(), "takes a value that it has not made"),
        ("below a mark", b"((R".to_vec(), "takes a value that it has not made"),
        ("no mark", b"t".to_vec(), "lacks a mark"),
        ("no memo", b"h\x07".to_vec(), "the memo has no such entry"),
        ("a name of numbers", b"K\x01K\x02\x93".to_vec(), "a name that is no text"),
        ("a long name", cat(&[b"c", &[b'a'; 999], b"\nb\n"]), "a name in the pickle is too long"),
        ("no UTF-8", b"X\x02\0\0\0\xff\xfe".to_vec(), "a text of the pickle is not UTF-8"),
        ("a text of 4 GiB", b"X\xff\xff\xff\xffx".to_vec(), "the pickle ends before its end"),
        (
            "a text of 8 EiB",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx".to_vec(),
            "the pickle ends before its end",
        ),
        ("bytes of 4 GiB", b"B\xff\xff\xff\xffx".to_vec(), "the pickle ends before its end"),
        ("a number of 4 GiB", b"\x8b\xff\xff\xff\xffx".to_vec(), "the pickle ends before its end"),
        ("a name without end", b"cos".to_vec(), "the pickle ends before its end"),
        ("two values", b"NN".to_vec(), "is not a dict"),
    ];
    for (name, value, reason) in &cases {
        bench.refused(name, &zipped(&state(value)), reason);
    }
    bench.refused("no dict", &zipped(&object(b"N")), "this file holds no state dict");
    bench.refused("nothing", &zipped(b""), "the pickle ends before its end");
    bench.refused("no value", &zipped(STOP), "does not end with one value");
    bench.refused("a mark is left", &zipped(&object(b"}(")), "does not end with one value");
    bench.refused(
        "more behind it",
        &zipped(&cat(&[&state(&four()), b"N."])),
        "data.pkl goes on after its end",
    );
    let twice = cat(&[b"}(", &text("w"), &four(), &text("w"), &four(), b"u"]);
    bench.refused("a name twice", &zipped(&object(&twice)), "the pickle names this tensor twice");
    bench.refused(
        "a name that is a number",
        &zipped(&object(&cat(&[b"}K\x01", &four(), b"s"]))),
        "is no text",
    );
    bench.done();
}

#[test]
fn tensors_that_leave_their_storage_are_refused() {
    let _turn = turn();
    let mut bench = Bench::new();
    let four = |offset, sizes: &[i64], strides: &[i64]| {
        tensor(&storage("FloatStorage", "0", 4), offset, sizes, strides)
    };
    let past = "runs past the end of its storage";
    let big = i64::MAX;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("one too many", four(0, &[5], &[1]), past),
        ("one too far", four(1, &[4], &[1]), past),
        ("a stride too far", four(0, &[2, 2], &[3, 2]), past),
        ("an offset without end", four(big, &[1], &[1]), past),
        ("an offset without end of nothing", four(big, &[0], &[1]), past),
        ("a size without end", four(0, &[big], &[1]), past),
        ("sizes without end", four(0, &[big, big, big], &[1, 1, 1]), past),
        ("a stride without end", four(0, &[2, 2], &[big, big]), past),
        ("strides that overflow", four(3, &[3, 3], &[big, big]), past),
        ("a negative offset", four(-1, &[1], &[1]), "the offset of a tensor"),
        ("a negative size", four(0, &[-1], &[1]), "the sizes of a tensor"),
        ("a negative stride", four(3, &[4], &[-1]), "the strides of a tensor"),
        (
            "a size of text",
            cat(&[
                &global("torch._utils", "_rebuild_tensor_v2"),
                b"(",
                &storage("FloatStorage", "0", 4),
                b"K\x00",
                &text("x"),
                &ints(&[1]),
                b"\x89NtR",
            ]),
            "the sizes of a tensor",
        ),
        ("a stride too few", four(0, &[2, 2], &[1]), "not a stride for each size"),
        ("nine dimensions", four(0, &[1; 9], &[1; 9]), "at most 8 numbers"),
        ("expanded", four(0, &[1 << 40], &[0]), "repeats the elements of its storage"),
        ("expanded without end", four(0, &[big, big], &[0, 0]), "repeats the elements of its storage"),
        (
            "more than the member",
            tensor(&storage("FloatStorage", "0", 5), 0, &[5], &[1]),
            "the member data/0 of 20 bytes, found 16 bytes",
        ),
        (
            "less than the member",
            tensor(&storage("FloatStorage", "0", 3), 0, &[3], &[1]),
            "the member data/0 of 12 bytes, found 16 bytes",
        ),
        (
            "wider than the member",
            tensor(&storage("DoubleStorage", "0", 4), 0, &[4], &[1]),
            "of 32 bytes, found 16 bytes",
        ),
        (
            "no such member",
            tensor(&storage("FloatStorage", "1", 4), 0, &[4], &[1]),
            "the member data/1 of 16 bytes, found none",
        ),
        (
            "a member of another folder",
            tensor(&storage("FloatStorage", "../version", 4), 0, &[4], &[1]),
            "data/../version of 16 bytes, found none",
        ),
        (
            "complex",
            tensor(&storage("ComplexFloatStorage", "0", 2), 0, &[2], &[1]),
            "found torch.ComplexFloatStorage",
        ),
    ];
    for (name, value, reason) in &cases {
        bench.refused(name, &zipped(&state(value)), reason);
    }
    let v3 = |storage: &[u8], dtype: &str, rest: &[u8]| {
        let numbers = cat(&[&int(0), &ints(&[4]), &ints(&[1])]);
        cat(&[
            &global("torch._utils", "_rebuild_tensor_v3"),
            b"(",
            storage,
            &numbers,
            b"\x89N",
            &global("torch", dtype),
            rest,
            b"tR",
        ])
    };
    let float = storage("FloatStorage", "0", 4);
    let untyped = cat(&[
        b"(",
        &text("storage"),
        &global("torch.storage", "UntypedStorage"),
        &text("0"),
        &text("cpu"),
        &int(16),
        b"tQ",
    ]);
    assert_eq!(bench.open(&zipped(&state(&v3(&untyped, "float32", b"")))), None);
    bench.refused(
        "another dtype",
        &zipped(&state(&v3(&float, "float16", b""))),
        "another dtype than its storage",
    );
    bench.refused("an untyped end", &zipped(&state(&v3(&untyped, "float64", b""))), past);
    bench.refused("no dtype", &zipped(&state(&tensor(&untyped, 0, &[4], &[1]))), "has no dtype");
    let negated = cat(&[b"}", &text("neg"), b"\x88s"]);
    bench.refused("negated", &zipped(&state(&v3(&float, "float32", &negated))), "conjugated or negated");
    bench.done();
}

#[test]
fn bombs_take_little_memory() {
    let _turn = turn();
    let mut bench = Bench::new();
    let many = |opcode: &[u8], n: usize| opcode.repeat(n);
    const N: usize = 4 << 20;
    let memo: Vec<u8> = (0..N as u32 / 5).flat_map(|i| cat(&[b"r", &i.to_le_bytes()])).collect();
    let more = "makes more values than a state dict of this size needs";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("values", many(b"N", N), more),
        ("marks", many(b"(", N), more),
        ("tuples", many(b")", N), more),
        ("nested tuples", cat(&[b"N", &many(b"\x85", N)]), more),
        ("nested lists", many(b"](", N / 2), more),
        ("dicts", many(b"}", N), more),
        ("memo", cat(&[b"N", &memo]), more),
        ("memoize", cat(&[b"N", &many(b"\x94", N)]), more),
        ("one list", cat(&[b"](", &many(b"N", N), b"e"]), more),
        ("tensors", cat(&[&four(), b"q\0", &many(b"h\0", N)]), more),
    ];
    for (name, value, reason) in &cases {
        bench.memory = 0;
        bench.refused(name, &zipped(&state(value)), reason);
        println!("{name}: {} bytes", bench.memory);
        assert!(bench.memory < MEMORY, "{name}: {}", bench.memory);
    }
    // Many names for one tensor.
    let names: Vec<u8> = (0..100_000).flat_map(|i| cat(&[&text(&format!("{i}")), b"h\0"])).collect();
    let many_names = object(&cat(&[b"}", &text("w"), &four(), b"q\0s(", &names, b"u"]));
    bench.refused("names", &zipped(&many_names), more);
    // A list of pairs is made a dict over and over.
    let class = cat(&[&global("collections", "OrderedDict"), b"q\x01"]);
    let again = cat(&[b"](", &many(b"NN\x86", 9999), b"eq\0\x85q\x02", &class, &many(b"h\x01h\x02R", 99999)]);
    bench.refused("copies", &zipped(&state(&again)), more);
    // Each twice in the next: 2^200 values, if any were followed.
    let twice = |mut value: Vec<u8>, each: &dyn Fn(u8) -> Vec<u8>| {
        (0..200).for_each(|i| value.extend(each(i)));
        object(&value)
    };
    let tuples = twice(b")".to_vec(), &|i| cat(&[b"q", &[i], b"h", &[i], b"\x86"]));
    bench.refused("doubled tuples", &zipped(&tuples), "this file holds no state dict");
    let get = |i: u8| [b'h', i];
    let dicts = twice(b"}".to_vec(), &|i| {
        cat(&[b"q", &[i], b"\x85}q\xff(K\x01", &get(i), b"K\x02", &get(i), b"u\x86"])
    });
    bench.refused("doubled dicts", &zipped(&dicts), "this file holds no state dict");
    bench.refused("a list of itself", &zipped(&object(b"]q\0h\0a")), "this file holds no state dict");
    bench.refused("a dict of itself", &zipped(&object(b"}q\0Nh\0s")), "this file holds no state dict");
    // A name of a megabyte, found again and again.
    let long = cat(&[&text(&"a".repeat(1 << 20)), b"q\0"]);
    let named = cat(&[b"}q\x01", &long, &four(), b"s", &many(&cat(&[b"h\0", &four(), b"s"]), 999)]);
    bench.refused("a long name", &zipped(&object(&named)), "is no text, or too long");
    let globals = cat(&[&long, &many(b"h\0h\0\x93", 9)]);
    bench.refused("a long module", &zipped(&state(&globals)), "names what no state dict needs");
    // One module of hqq under many names, and one whose entries have long names.
    let module = cat(&[b"}q\0(", &text("W_q"), &four(), &text("scale"), &four(), b"u"]);
    let shared: Vec<u8> = (0..20_000).flat_map(|i| cat(&[&text(&format!("m{i}")), b"h\0"])).collect();
    let shared = object(&cat(&[b"}(", &text("m"), &module, &shared, b"u"]));
    bench.refused("one module under many names", &zipped(&shared), "one dict stands for two");
    let named = object(&cat(&[b"}", &text(&"a".repeat(300)), &module, b"s"]));
    bench.refused("a module with a long name", &zipped(&named), "name that is too long");
    let directory: Vec<Member> = (0..60000).map(|i| member(&format!("x/data/{i:0>30}"), b"")).collect();
    bench.refused("members", &archive(&directory), "more members than a checkpoint of this size needs");
    bench.done();
}

/// The members of a sound archive, of which one is changed.
fn changed(i: usize, change: impl Fn(&mut Member)) -> Vec<u8> {
    let mut all = members(&state(&four()));
    change(&mut all[i]);
    archive(&all)
}

#[test]
fn archives_that_lie_are_refused() {
    let _turn = turn();
    let mut bench = Bench::new();
    let renamed = |name: &str| {
        changed(3, |m| {
            m.name = name.into();
            m.local_name = name.into();
        })
    };
    for name in [
        "../x",
        "x/../../y",
        "/etc/passwd",
        "C:\\x",
        "x\\..\\y",
        "x/",
        "",
        "x/data\0",
        "./x",
        "\\\\server\\x",
    ] {
        bench.refused(name, &renamed(name), "has a name that no checkpoint needs");
    }
    bench.refused(
        "a link",
        &changed(3, |m| m.attributes = 0o120_777 << 16),
        "has a name that no checkpoint needs",
    );
    for method in [8, 9, 12, 14, 93, 95, 99] {
        bench.refused("compressed", &changed(2, |m| m.method = method), "");
    }
    bench.refused("deflated", &changed(2, |m| m.method = 8), "is compressed, which PyTorch never does");
    bench.refused("encrypted", &changed(2, |m| m.flags = 1), "is encrypted");
    bench.refused("strongly encrypted", &changed(2, |m| m.flags = 0x41), "is encrypted");
    let malformed = "the zip archive is malformed";
    bench.refused("a size that lies", &changed(2, |m| m.sizes = [16, 999]), "has two sizes");
    bench.refused("both sizes lie", &changed(2, |m| m.sizes = [999, 999]), malformed);
    bench.refused("all sizes lie", &changed(2, |m| (m.sizes, m.local_size) = ([999, 999], 999)), malformed);
    bench.refused(
        "sizes of 4 GiB",
        &changed(2, |m| (m.sizes, m.local_size) = ([u32::MAX - 1; 2], u32::MAX - 1)),
        malformed,
    );
    bench.refused("its own size lies", &changed(2, |m| m.local_size = 999), malformed);
    bench.refused(
        "smaller",
        &changed(2, |m| (m.sizes, m.local_size) = ([8, 8], 8)),
        "of 16 bytes, found 8 bytes",
    );
    bench.refused("another name within", &changed(2, |m| m.local_name = b"x/data/1".into()), malformed);
    bench.refused("a longer name within", &changed(2, |m| m.local_name = b"x/data/00".into()), malformed);
    bench.refused("elsewhere", &changed(2, |m| m.offset = Some(7)), malformed);
    bench.refused("beyond the end", &changed(2, |m| m.offset = Some(u32::MAX - 9)), malformed);
    bench.refused("in another", &changed(3, |m| m.offset = Some(0)), malformed);
    bench.refused("a name twice", &renamed("x/data/0"), "duplicate file names");
    bench.refused("not listed", &changed(3, |m| m.is_listed = false), malformed);
    // Sizes of eight bytes in an extra field.
    let large = |size: u64| {
        changed(2, |m| {
            (m.sizes, m.extra) =
                ([u32::MAX; 2], cat(&[b"\x01\0\x10\0", &size.to_le_bytes(), &size.to_le_bytes()]))
        })
    };
    for size in [0, 15, 17, 1 << 40, u64::MAX] {
        bench.refused("a large size that lies", &large(size), malformed);
    }
    let sound = zipped(&state(&four()));
    bench.refused("something before", &cat(&[b"PK\x03\x04junk", &sound]), malformed);
    bench.refused("something behind", &cat(&[&sound, b"junk"]), malformed);
    bench.refused("another archive behind", &cat(&[&sound, &sound]), malformed);
    bench.refused(
        "another archive before",
        &cat(&[&sound, &zipped(&state(&call("os", "system")))]),
        malformed,
    );
    let mut comment = cat(&[&sound, b"comment"]);
    comment[sound.len() - 2] = 7;
    bench.refused("a comment", &comment, malformed);
    let mut count = sound.clone();
    count[sound.len() - 12] = 3;
    bench.refused("a count that lies", &count, malformed);
    bench.refused("no pickle", &archive(&members(b"")[1..]), "this zip archive is no checkpoint of PyTorch");
    bench.refused(
        "two pickles",
        &archive(&[&members(b"")[..], &[member("y/data.pkl", b"")]].concat()),
        "found 2 of 5 members",
    );
    bench.refused("a deep pickle", &archive(&[member("a/b/data.pkl", b"")]), "no checkpoint of PyTorch");
    bench.refused(
        "a program",
        &archive(&[&members(b"")[..], &[member("x/constants.pkl", b"")]].concat()),
        "TorchScript",
    );
    let big =
        |word: &[u8]| archive(&[&members(&state(&four()))[..1], &[member("x/byteorder", word)]].concat());
    bench.refused("big", &big(b"big"), "in another byte order");
    bench.refused("no order", &big(b""), "in another byte order");
    bench.done();
}

#[test]
fn legacy_files_that_lie_are_refused() {
    let _turn = turn();
    let mut bench = Bench::new();
    let pickle = state(&four());
    let sound = legacy(&pickle, &legacy_data("0", 4));
    let swap = |from: &[u8], to: &[u8]| {
        let at = sound.windows(from.len()).position(|w| w == from).unwrap();
        cat(&[&sound[..at], to, &sound[at + from.len()..]])
    };
    bench.refused("big", &swap(b"\x88s", b"\x89s"), "in another byte order");
    bench.refused("no order", &swap(b"little_endian", b"little_andian"), "in another byte order");
    bench.refused(
        "a version",
        &swap(b"M\xe9\x03", b"M\xea\x03"),
        "this version of PyTorch's files is not covered",
    );
    bench.refused("another key", &legacy(&pickle, &legacy_data("1", 4)), "a storage that no tensor is of");
    let twice = cat(&[&object(&cat(&[b"](", &text("0"), &text("0"), b"e"])), &4u64.to_le_bytes(), &[0; 40]]);
    bench.refused("a key twice", &legacy(&pickle, &twice), "a storage that no tensor is of, or twice");
    let none = cat(&[&object(b"]"), b""]);
    bench.refused("no key", &legacy(&pickle, &none), "not in the file: found no storage '0'");
    bench.refused(
        "keys that are none",
        &legacy(&pickle, &object(b"N")),
        "the keys of the storages are no list",
    );
    bench.refused("a key that is none", &legacy(&pickle, &object(b"]Na")), "the key of a storage is no text");
    bench.refused("fewer", &legacy(&pickle, &legacy_data("0", 3)), "another number of elements");
    bench.refused("without end", &legacy(&pickle, &legacy_data("0", u64::MAX)), "another number of elements");
    let eight = state(&tensor(&storage("FloatStorage", "0", 8), 0, &[8], &[1]));
    bench.refused("beyond the end", &legacy(&eight, &legacy_data("0", 8)), "runs past the end of the file");
    bench.refused("something behind", &cat(&[&sound, b"x"]), "goes on after its last storage");
    bench.refused("a bare pickle", &pickle, "found a bare pickle");
    bench.refused("a bare call", b"cos\nsystem\n(S'touch owned'\ntR.", "this is not a checkpoint of PyTorch");
    bench.refused("empty", b"", "found an empty file");
    bench.refused("an old GGML file", b"tjgg\x03\0\0\0", "found a file of GGML, from before GGUF");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    bench.refused("a pointer", pointer, "a pointer of Git LFS");
    bench.done();
}

/// Every prefix, and each byte as each of its other values.
fn poisoned(whole: &[u8]) {
    let _turn = turn();
    let mut bench = Bench::new();
    assert_eq!(bench.open(whole), None);
    for end in 0..whole.len() {
        bench.refused("truncated", &whole[..end], "");
    }
    let mut bytes = whole.to_vec();
    for at in 0..whole.len() {
        for change in 1..=255u8 {
            bytes[at] = whole[at] ^ change;
            if let Some((kind, text)) = bench.open(&bytes) {
                assert!(matches!(kind, Kind::Invalid | Kind::Unsupported), "{at} {change}: {text}");
            }
        }
        bytes[at] = whole[at];
    }
    bench.done();
}

#[test]
fn a_poisoned_archive_is_read_or_refused() {
    poisoned(&zipped(&state(&four())));
}

#[test]
fn a_poisoned_legacy_file_is_read_or_refused() {
    poisoned(&legacy(&state(&four()), &legacy_data("0", 4)));
}

#[test]
fn what_torch_wrote_is_refused_when_it_is_cut_anywhere() {
    let _turn = turn();
    let mut bench = Bench::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/pickles");
    for name in ["strided.pt", "strided-legacy.bin", "tied.pt", "module-legacy.pth", "plain-4.pt"] {
        let whole = std::fs::read(dir.join(name)).unwrap();
        (0..whole.len()).for_each(|end| bench.refused(name, &whole[..end], ""));
    }
    bench.done();
}
