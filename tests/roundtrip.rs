//! What the writer writes, every reader reads back the same: ours, and gguf-rs.

use ggraft_formats::gguf::{self, Header};
use ggraft_formats::mmap::Mapping;
use ggraft_formats::source::Container;
use ggraft_formats::write;
use ggraft_formats::{Array, DType, Input, Metadata, Model, Result, Shape, Tensor, Value, open};
use std::path::Path;

fn write(model: &Model, path: &Path) -> Result<()> {
    write::write(&[gguf::plan(model, path)?], &())
}

/// A value of every type, scalar and in an array, with the corners of each.
fn every_type() -> Metadata {
    let mut m = Metadata::new();
    m.set("general.architecture", "llama");
    m.set("u8", u8::MAX);
    m.set("i8", i8::MIN);
    m.set("u16", u16::MAX);
    m.set("i16", i16::MIN);
    m.set("u32", u32::MAX);
    m.set("i32", i32::MIN);
    m.set("f32", 0.1f32);
    m.set("f32.max", f32::MAX);
    m.set("f32.inf", f32::INFINITY);
    m.set("bool", true);
    m.set("str", "grüß dich, 안녕");
    m.set("str.bytes", Value::Str(vec![0xe2, 0x96, 0, 0xff].into()));
    m.set("str.empty", "");
    m.set("u64", u64::MAX);
    m.set("i64", i64::MIN);
    m.set("f64", std::f64::consts::PI);
    m.set("array.u8", vec![0u8, 255]);
    m.set("array.i8", vec![-128i8, 127]);
    m.set("array.u16", vec![1u16]);
    m.set("array.i16", vec![-1i16]);
    m.set("array.u32", vec![7u32; 3]);
    m.set("array.i32", vec![-7i32; 3]);
    m.set("array.f32", vec![-0.0f32, 1e-40]);
    m.set("array.bool", vec![true, false]);
    m.set("array.str", vec![String::from("a"), String::new()]);
    m.set("array.u64", vec![u64::MAX]);
    m.set("array.i64", vec![i64::MIN]);
    m.set("array.f64", vec![1e300f64]);
    m.set("array.empty", Value::Array(Array::I16(Vec::new())));
    m
}

fn tensors() -> Vec<Tensor> {
    let values: Vec<f32> = (0..4 * 32 * 3).map(|i| (i as f32 * 0.7).sin()).collect();
    let tensor = |name: &str, ne: &[u64], dtype: DType| {
        let shape = Shape::new(ne).unwrap();
        let n = shape.elements() as usize;
        Tensor::in_memory(name, shape, &values[..n]).unwrap().encode(dtype, None).unwrap()
    };
    vec![
        tensor("one.weight", &[5], DType::F32),
        tensor("two.weight", &[32, 3], DType::F16),
        tensor("three.weight", &[32, 3, 4], DType::BF16),
        tensor("column.weight", &[7, 1], DType::F32),
    ]
}

fn written(model: &Model, path: &Path) -> Model {
    write(model, path).unwrap();
    match open(path).unwrap() {
        Input::Model(model) => model,
        Input::Checkpoint(_) => panic!("not a GGUF"),
    }
}

#[test]
fn metadata_and_tensors_come_back() {
    let dir = tempfile::tempdir().unwrap();
    for alignment in [None, Some(1u32), Some(64), Some(4096)] {
        let mut metadata = every_type();
        if let Some(n) = alignment {
            metadata.set("general.alignment", n);
        }
        let model = Model { metadata, tensors: tensors(), ..Model::default() };
        let path = dir.path().join("x.gguf");
        let back = written(&model, &path);
        assert_eq!(back.metadata, model.metadata);
        for (a, b) in back.tensors.iter().zip(&model.tensors) {
            assert_eq!(
                (&a.name, a.shape().significant(), a.dtype()),
                (&b.name, b.shape().significant(), b.dtype())
            );
            let rows = 0..a.shape().rows() as usize;
            let bytes = |t: &Tensor| t.with_rows(rows.clone(), |b| Ok(b.to_vec())).unwrap();
            assert_eq!(bytes(a), bytes(b), "{}", a.name);
        }
        let file = Mapping::open(&path).unwrap();
        let header = Header::parse(file.bytes(), &path).unwrap();
        let not_checked =
            (alignment == Some(1)).then(|| String::from("gguf-rs takes the alignment 1 for 32"));
        assert_eq!(gguf::cross_check(&Container::Mapped(file.clone()), &header).unwrap(), not_checked);
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let model = Model { metadata: every_type(), tensors: tensors(), ..Model::default() };
    let written = |threads: usize| {
        let path = dir.path().join(format!("{threads}.gguf"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write(&model, &path)).unwrap();
        std::fs::read(path).unwrap()
    };
    let one = written(1);
    assert!(one == written(2) && one == written(7));
}

#[test]
fn the_second_reader_notices_a_difference() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gguf");
    written(&Model { metadata: every_type(), tensors: tensors(), ..Model::default() }, &path);
    let file = Mapping::open(&path).unwrap();
    let mut header = Header::parse(file.bytes(), &path).unwrap();
    header.metadata.set("u32", 1u32);
    header.tensors[1].offset += 32;
    let text = gguf::cross_check(&Container::Mapped(file.clone()), &header).unwrap_err().to_string();
    assert!(text.contains("the value of 'u32' differs"), "{text}");
    assert!(
        text.contains("tensor: two.weight [32, 3] type 1 at 64 or two.weight [32, 3] type 1 at 32"),
        "{text}"
    );
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let values = [1.0, f32::NAN, 2.0, 3.0];
    let bad = Tensor::in_memory("bad.weight", Shape::new(&[2, 2]).unwrap(), &values).unwrap().checked();
    let model = Model { metadata: Metadata::new(), tensors: vec![bad], ..Model::default() };
    let e = write(&model, &dir.path().join("x.gguf")).unwrap_err().to_string();
    assert!(
        e.contains("tensor 'bad.weight': the weights must be finite: found NaN at row 0, column 1; 1 of 4"),
        "{e}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn split_files_are_read_by_their_first_part() {
    let dir = tempfile::tempdir().unwrap();
    let all = tensors();
    let part = |no: u16, tensors: &[Tensor]| {
        let mut metadata = if no == 0 { every_type() } else { Metadata::new() };
        metadata.set("split.no", no);
        metadata.set("split.count", 2u16);
        metadata.set("split.tensors.count", 4i32);
        let path = dir.path().join(format!("m-{:05}-of-00002.gguf", no + 1));
        let model = Model { metadata, tensors: tensors.to_vec(), ..Model::default() };
        write(&model, &path).unwrap();
        path
    };
    let (first, second) = (part(0, &all[..1]), part(1, &all[1..]));
    let Input::Model(model) = open(&first).unwrap() else { panic!("not a GGUF") };
    assert_eq!(model.metadata, every_type());
    assert_eq!(model.tensors.len(), 4);
    let e = open(&second).unwrap_err().to_string();
    assert!(e.contains("expected split.no = 0, found 1; give the first part"), "{e}");
    std::fs::remove_file(&second).unwrap();
    let e = open(&first).unwrap_err().to_string();
    assert!(e.contains("m-00002-of-00002.gguf: this part of the split model is missing"), "{e}");
}
