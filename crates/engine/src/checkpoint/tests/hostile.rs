//! Checkpoints as an attacker or a bad disk would have them.

use super::*;

#[test]
fn what_is_cut_short_is_never_read_to_the_end() {
    for whole in [PTH, PT, NPZ, DEFLATED] {
        for n_bytes in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let error = complaint(&whole[..n_bytes]);
            assert_ne!(error, "no complaint", "{n_bytes} of {} bytes", whole.len());
        }
    }
    for n_bytes in (0..BUILTIN.len()).step_by(97 * 1009).chain([BUILTIN.len() - 1]) {
        let error = open(&BUILTIN[..n_bytes]).err().map(|error| error.to_string());
        assert!(error.is_some(), "{n_bytes} of {} bytes", BUILTIN.len());
    }
}

#[test]
fn a_flipped_bit_in_the_numbers_of_a_zip_is_noticed() {
    let checkpoint = open(PTH).unwrap();
    for (name, tensor) in &checkpoint.tensors {
        for at in tensor.record.start..tensor.record.start + tensor.record.stored_bytes {
            let mut bytes = PTH.to_vec();
            bytes[at as usize] ^= 1 << (at % 8);
            let error = complaint(bytes);
            let noticed = error.contains("checksum") || error.contains("int64");
            assert!(noticed, "{name} at {at}: {error}");
        }
    }
}

/// Half of the runs change a few bytes anywhere, the others small numbers in tables, which lets
/// more of them get past the first checks. Memory is bounded by construction: what a test can see
/// is that no tensor has more numbers than the file has bytes.
#[test]
fn random_damage_is_an_error_or_harmless_but_no_panic() {
    let small_safetensors = safetensors_file(&[
        ("a.module.b", "F32", &[2, 2], &f32_bytes(&[1.0, 2.0, 3.0, 4.0])),
        ("a.c", "BF16", &[2], &[0; 4]),
    ]);
    let seeds: [&[u8]; 5] = [PTH, PT, NPZ, DEFLATED, &small_safetensors];
    let mut random = Random(0x6b6f_6531);
    for round in 0..20_000 {
        let whole = seeds[round % seeds.len()];
        let mut bytes = whole.to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                3 => bytes.truncate(at.max(1)),
                4 => {
                    let piece = bytes[at..(at + random.below(40)).min(bytes.len())].to_vec();
                    let to = random.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    bytes.drain(at..(at + random.below(9)).min(bytes.len()));
                    bytes.push(0);
                }
            }
        }
        let n_bytes = bytes.len();
        let Ok(checkpoint) = open(bytes) else { continue };
        for name in checkpoint.names() {
            let shape = checkpoint.shape(name).unwrap().to_vec();
            let Ok(values) = checkpoint.f32(name, &shape) else { continue };
            // Deflate makes 1032 bytes of one at most.
            assert!(values.len() <= n_bytes * 1032 / 2, "round {round}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_at_all_make_a_panic(bytes in proptest::collection::vec(0u8.., 0..400)) {
        let _ = complaint(bytes.clone());
        // Past the first look, into each reader.
        let _ = complaint([b"PK\x03\x04", &bytes[..]].concat());
        let _ = complaint([&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat());
        let _ = pickle::read(&bytes);
    }

    #[test]
    fn no_pickle_of_known_opcodes_makes_a_panic(picks in proptest::collection::vec(0u8.., 0..300)) {
        let mut program = vec![0x80, 2];
        for pick in picks {
            program.extend(OPCODES[usize::from(pick) % OPCODES.len()]);
        }
        program.push(b'.');
        let _ = complaint(pytorch_file(&program, &[("0", &[0; 16])]));
    }
}

/// Whole opcodes with arguments that fit together now and then.
const OPCODES: [&[u8]; 26] = [
    b"}",
    b")",
    b"(",
    b"t",
    b"u",
    b"s",
    b"R",
    b"b",
    b"Q",
    b"q\x00",
    b"q\x01",
    b"h\x00",
    b"h\x01",
    b"\x85",
    b"\x86",
    b"\x87",
    b"N",
    b"\x89",
    b"K\x02",
    b"K\x00",
    b"X\x07\x00\x00\x00storage",
    b"X\x01\x00\x00\x000",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
];

#[test]
fn only_the_calls_that_make_tensors_are_known() {
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
    ] {
        let program = format!("\u{2}c{module}\n{name}\nX\x04\0\0\0true\u{85}R.");
        let program = [&[0x80], latin(&program).as_slice()].concat();
        let error = complaint(pytorch_file(&program, &[]));
        assert!(error.contains(&format!("{module}.{name}")), "{error}");
    }
}

#[test]
fn opcodes_that_tensors_do_not_need_are_refused_by_number() {
    // INST, OBJ, NEWOBJ, EXT1, STACK_GLOBAL, FRAME, BINFLOAT, LIST, REDUCE on nothing, DUP
    for opcode in *b"io\x81\x82\x93\x95G]2" {
        let error = complaint(pytorch_file(&[0x80, 2, opcode], &[]));
        assert!(error.contains(&format!("{opcode:#04x}")), "{error}");
    }
}

#[test]
fn pickles_that_grow_or_nest_without_end_are_stopped() {
    let marks = [&[0x80, 2][..], &[b'('; 1000]].concat();
    assert!(complaint(pytorch_file(&marks, &[])).contains("pickle nesting"));
    let nones = [&[0x80, 2][..], &[b'N'; 100_000]].concat();
    assert!(complaint(pytorch_file(&nones, &[])).contains("depth of the pickle stack"));

    // One node after the other, popped at once: BUILD takes what lies on a dictionary.
    let pairs = b"Nb".repeat(1 << 20);
    assert!(
        complaint(pytorch_file(&[b"\x80\x02}", &pairs[..]].concat(), &[]))
            .contains("pickled values")
    );

    // A tuple around a tuple, 100,000 deep: free to make, and no tensor.
    let tuples = [b"\x80\x02)", &[0x85; 100_000][..], b"."].concat();
    assert!(complaint(pytorch_file(&tuples, &[])).contains("neither a tensor nor a dictionary"));

    let contains_itself = b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.";
    assert!(complaint(pytorch_file(contains_itself, &[])).contains("nesting of dictionaries"));

    // Every dictionary holds the next one 32 times: 32^6 walks if nobody counted.
    let open = b"}X\x01\0\0\0a".repeat(6);
    let close = [b"q\x00s", &b"X\x01\0\0\0ah\x00s".repeat(31)[..]].concat().repeat(6);
    let wide = [b"\x80\x02", &open[..], b"}", &close, b"."].concat();
    assert!(complaint(pytorch_file(&wide, &[])).contains("number of pickled values"));
}

#[test]
fn broken_pickles_say_what_is_wrong() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "cut short"),
        (b"\x80\x04.", "protocol 4"),
        (b"\x80\x02.", "empty stack"),
        (b"\x80\x02h\x07.", "recalls what it never stored"),
        (b"\x80\x02t.", "lacks a mark"),
        (b"\x80\x02}N.", "left over"),
        (b"\x80\x02}.}", "left over"),
        (b"\x80\x02}(N\x85u.", "without a value"),
        (b"\x80\x02X\xff\xff\xff\xffa.", "cut short"),
        (b"\x80\x02}K\x01Ns.", "no text"),
        (b"\x80\x02\x8a\x09\x01\0\0\0\0\0\0\0\0.", "64 bits"),
        (b"\x80\x02X\x07\0\0\0storage\x85Q.", "cannot be understood"),
    ];
    for (program, expected) in cases {
        let error = complaint(pytorch_file(program, &[]));
        assert!(error.contains(expected), "{program:02x?}: {error}");
    }
}

#[test]
fn tensors_that_reach_outside_their_storage_are_refused() {
    let max = i64::MAX;
    // Of a storage of 4 numbers: offset, shape, strides.
    let cases: [(i64, &[i64], &[i64]); 13] = [
        (1, &[4], &[1]),
        (0, &[5], &[1]),
        (0, &[2, 2], &[3, 1]),
        (0, &[2], &[4]),
        (0, &[2], &[-1]),
        (3, &[2], &[-1]),
        (-1, &[1], &[1]),
        (max, &[1], &[1]),
        (max, &[0], &[1]),
        (0, &[max, max], &[max, max]),
        (0, &[1 << 62, 4], &[0, 0]),
        (0, &[2], &[max]),
        (0, &[2, 2], &[1]),
    ];
    for (offset, shape, strides) in cases {
        let program = tensor_pickle("0", 4, offset, shape, strides);
        let error = complaint(pytorch_file(&program, &[("0", &[0; 16])]));
        assert_ne!(error, "no complaint", "{offset} {shape:?} {strides:?}");
    }
    let sound: [(i64, &[i64], &[i64]); 5] = [
        (0, &[max, 0], &[1, 1]),
        (0, &[2, 2], &[1, 2]),
        (3, &[], &[]),
        (4, &[0], &[1]),
        (1, &[3], &[1]),
    ];
    for (offset, shape, strides) in sound {
        let program = tensor_pickle("0", 4, offset, shape, strides);
        let error = complaint(pytorch_file(&program, &[("0", &[0; 16])]));
        assert_eq!(error, "no complaint", "{offset} {shape:?} {strides:?}");
    }
    let too_many = tensor_pickle("0", 4, 0, &[1; 9], &[1; 9]);
    assert!(complaint(pytorch_file(&too_many, &[("0", &[0; 16])])).contains("dimensions"));
}

#[test]
fn storages_must_be_there_and_as_long_as_they_say() {
    for n_elements in [3, 5, 1 << 61, i64::MAX, -4] {
        let program = tensor_pickle("0", n_elements, 0, &[1], &[1]);
        let error = complaint(pytorch_file(&program, &[("0", &[0; 16])]));
        assert!(error.contains("storage"), "{n_elements}: {error}");
    }
    let program = tensor_pickle("../../etc/passwd", 4, 0, &[4], &[1]);
    let error = complaint(pytorch_file(&program, &[("0", &[0; 16])]));
    assert!(error.contains("is missing"), "{error}");
}

#[test]
fn numbers_in_the_other_byte_order_are_refused() {
    let program = tensor_pickle("0", 4, 0, &[4], &[1]);
    let members: [(&str, &[u8]); 3] =
        [("a/data.pkl", &program), ("a/byteorder", b"big"), ("a/data/0", &[0; 16])];
    assert!(complaint(zip_file(&members)).contains("little-endian"));
}

#[test]
fn zip_members_that_contradict_or_overlap_each_other_are_refused() {
    let name = "a/data.pkl";
    for bad in ["../a", "/etc/a", "a/../../b", "a\\b", "C:a", "a\0b", ""] {
        let error = complaint(zip_file(&[(name, b"\x80\x02}."), (bad, b"x")]));
        assert!(error.contains("leave the archive"), "{bad:?}: {error}");
    }
    let twice = zip_file(&[(name, b"\x80\x02}."), (name, b"\x80\x02}.")]);
    assert!(complaint(twice).contains("there twice"));
    let long = "n".repeat(600);
    assert!(complaint(zip_file(&[(name, b"\x80\x02}."), (&long, b"")])).contains("name"));

    let mut zip = Zip::default();
    zip.add(name, b"\x80\x02}.", |_| {});
    zip.add("a/b", b"x", |member| member.local = 0);
    assert!(complaint(zip.finish()).contains("contradicts"));

    // The same bytes under two entries of one name length, told apart only by the table.
    let mut zip = Zip::default();
    zip.add(name, b"\x80\x02}.", |member| member.stored_bytes += 60);
    zip.add("a/b", &[0; 100], |_| {});
    assert!(complaint(zip.finish()).contains("two lengths"));
    let mut zip = Zip::default();
    zip.add(name, b"\x80\x02}.", |member| {
        member.stored_bytes += 60;
        member.bytes += 60;
    });
    zip.add("a/b", &[0; 100], |_| {});
    assert!(complaint(zip.finish()).contains("overlap"));

    type Change = fn(&mut ZipMember);
    let cases: [(Change, &str); 7] = [
        (|member| member.local = u32::MAX - 1, "past its end"),
        (|member| member.local += 1, "contradicts"),
        (|member| (member.stored_bytes, member.bytes) = (1 << 30, 1 << 30), "past its end"),
        (|member| member.method = 8, "contradicts"),
        (|member| (member.method, member.local_method) = (8, 8), "compressed"),
        (|member| (member.method, member.local_method) = (12, 12), "method 12"),
        (|member| member.flags = 1, "encrypted"),
    ];
    for (change, expected) in cases {
        let mut zip = Zip::default();
        zip.add(name, b"\x80\x02}.", change);
        let error = complaint(zip.finish());
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn zip_tables_that_lie_are_refused() {
    let sound = zip_file(&[("a/data.pkl", b"\x80\x02}.")]);
    assert_eq!(complaint(sound.clone()), "no complaint");
    let end = sound.len() - 22;
    // Field of the end record, its bytes, what is made of it.
    for (at, n_bytes, value) in [
        (8, 2, 2u64),
        (10, 2, 2),
        (8, 2, 0),
        (12, 4, 5),
        (12, 4, u64::from(u32::MAX) - 1),
        (16, 4, u64::from(u32::MAX) - 1),
        (16, 4, 0),
        (10, 2, 0xffff),
        (16, 4, u64::from(u32::MAX)),
        (20, 2, 1),
        (4, 2, 1),
    ] {
        let mut bytes = sound.clone();
        bytes[end + at..end + at + n_bytes].copy_from_slice(&value.to_le_bytes()[..n_bytes]);
        assert_ne!(complaint(bytes), "no complaint", "{value} at {at}");
    }
    assert_ne!(complaint([&sound[..], b"more"].concat()), "no complaint");
    assert!(complaint(zip_file(&[("readme", b"hello")])).contains("neither PyTorch's nor NumPy's"));

    let many: Vec<(String, &[u8])> = (0..17_000).map(|i| (format!("a/{i}"), &b""[..])).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (&name[..], *bytes)).collect();
    assert!(complaint(zip_file(&many)).contains("number of zip members"));
}

#[test]
fn zip64_tables_are_read() {
    let mut zip = Zip::default();
    zip.add("a/data.pkl", &tensor_pickle("0", 4, 0, &[4], &[1]), |member| member.in_zip64 = true);
    zip.add("a/data/0", &f32_bytes(&[1.0, 2.0, 3.0, 4.0]), |member| member.in_zip64 = true);
    let bytes = zip.finish_64();
    let checkpoint = open(bytes.clone()).unwrap();
    assert_eq!(checkpoint.f32("", &[4]).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    for at in 0..bytes.len() {
        for value in [0, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let _ = complaint(bytes);
        }
    }
}

#[test]
fn compressed_members_cannot_swell_beyond_what_they_say() {
    let header = npy_header("<f4", "(256, )");
    let array = [&header[..], &[0; 1024]].concat();
    let deflated = |bytes: &[u8]| {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Says 1 kB, unpacks to 8 MB: no more than what it says is unpacked.
    let bomb = deflated(&[&array[..], &[0; 8 << 20]].concat());
    let mut zip = Zip::default();
    zip.add("a.npy", &bomb, |member| {
        (member.method, member.local_method, member.bytes) = (8, 8, array.len() as u32);
    });
    assert!(complaint(zip.finish()).contains("another length"));

    let claims = npy_header("<f4", "(268435456, )");
    let mut zip = Zip::default();
    zip.add("a.npy", &deflated(&claims), |member| {
        (member.method, member.local_method) = (8, 8);
        member.bytes = (1 << 30) + claims.len() as u32;
    });
    assert!(complaint(zip.finish()).contains("unpacked size"));
}

#[test]
fn arrays_of_numpy_are_checked_against_their_headers() {
    let array = |descr: &str, shape: &str| [&npy_header(descr, shape)[..], &[0; 32]].concat();
    assert_eq!(complaint(zip_file(&[("a.npy", &array("<f4", "(8,)"))])), "no complaint");
    assert_eq!(complaint(zip_file(&[("a.npy", &array("<f2", "(4, 4)"))])), "no complaint");
    for (descr, shape) in [
        (">f4", "(8,)"),
        ("<f8", "(4,)"),
        ("|O", "(4,)"),
        ("<f4", "(9,)"),
        ("<f4", "(7,)"),
        ("<f4", "(-8,)"),
        ("<f4", "(9223372036854775808, 2)"),
        ("<f4", "(4611686018427387904, 4)"),
        ("<f4", "(99999999999999999999999,)"),
        ("<f4", "(8"),
        ("<f4", "(1,1,1,1,1,1,1,1,8)"),
    ] {
        let error = complaint(zip_file(&[("a.npy", &array(descr, shape))]));
        assert!(error.contains("\"a\""), "{descr} {shape}: {error}");
    }
    let fortran =
        String::from_utf8_lossy(&npy_header("<f4", "(8,)")[10..]).replace("False", "True ");
    let header =
        [b"\x93NUMPY\x01\x00", &(fortran.len() as u16).to_le_bytes()[..], fortran.as_bytes()];
    let array = [header.concat(), vec![0; 32]].concat();
    assert!(complaint(zip_file(&[("a.npy", &array)])).contains("C order"));
}

#[test]
fn safetensors_tables_that_lie_are_refused() {
    let table = |json: &str, n_data: usize| {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; n_data]].concat()
    };
    assert_eq!(
        complaint(table(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8)),
        "no complaint"
    );
    for json in [
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,12]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"module.a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        r#"{"a":1}"#,
        "{",
        "",
    ] {
        assert_ne!(complaint(table(json, 8)), "no complaint", "{json}");
    }
    for n_table in [1 << 20, 1 << 30, 1 << 63, u64::MAX] {
        let bytes = [&n_table.to_le_bytes()[..], b"{}"].concat();
        assert_ne!(complaint(bytes), "no complaint", "{n_table}");
    }
    let deep = "[".repeat(100_000);
    assert_ne!(complaint(table(&format!(r#"{{"a":{deep}"#), 8)), "no complaint");
}

/// One byte for each character.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

/// SplitMix64: the same damage on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
