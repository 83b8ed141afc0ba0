//! What written forms are read as, row by row, and that reading twice changes nothing.

use koe_text::{Dialect, UserLexicon, normalize};

fn rows() -> impl Iterator<Item = (Vec<Dialect>, &'static str, &'static str)> {
    let lines = include_str!("data/normalize.tsv").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut columns = line.split('\t');
        let written = columns.next().unwrap_or("");
        let spoken = columns.next().filter(|spoken| !spoken.is_empty()).unwrap_or(written);
        let dialects = match columns.next() {
            Some("us") => vec![Dialect::American],
            Some("gb") => vec![Dialect::British],
            None => vec![Dialect::American, Dialect::British],
            Some(other) => panic!("no dialect {other:?} in row {line:?}"),
        };
        (dialects, written, spoken)
    })
}

#[test]
fn reads_what_is_written() {
    let lexicon = UserLexicon::default();
    let mut wrong = String::new();
    for (dialects, written, spoken) in rows() {
        for dialect in dialects {
            let found = normalize(written, dialect, &lexicon);
            if found != spoken {
                wrong += &format!(
                    "{dialect:?} {written:?}\n  expected {spoken:?}\n     found {found:?}\n"
                );
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn has_rows_for_every_topic() {
    assert!(rows().count() >= 200, "{}", rows().count());
}

#[test]
fn reading_aloud_what_was_read_aloud_changes_nothing() {
    let lexicon = UserLexicon::default();
    for (dialects, written, _) in rows() {
        for dialect in dialects {
            let once = normalize(written, dialect, &lexicon);
            assert_eq!(normalize(&once, dialect, &lexicon), once, "{written:?}");
        }
    }
}

#[test]
fn leaves_the_words_of_the_callers_lexicon_alone() {
    let mut lexicon = UserLexicon::default();
    lexicon.insert("C#", "sˈi hˈæʃ").expect("it can be spoken");
    lexicon.insert("5km", "fˈIv kˈA").expect("it can be spoken");
    let found = normalize("C# for 5km and 6km", Dialect::American, &lexicon);
    assert_eq!(found, "C# for 5km and 6 kilometers");
}
