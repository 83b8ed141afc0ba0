//! Settings are read as they were meant, and every mistake is told.

use super::*;

fn config(variables: &[(&str, &str)]) -> Config {
    Config::read(&|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.into())
    })
}

#[test]
fn every_problem_is_told_at_once() {
    let config = config(&[("KOKORO_THREADS", "0"), ("KOKORO_ISA", "mmx")]);
    assert_eq!(config.problems.len(), 2, "{:?}", config.problems);
    assert!(config.problems[0].contains("KOKORO_THREADS is \"0\""));
    assert!(config.problems[1].contains("mmx"));
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let config = config(&[("KOKORO_THREADS", ""), ("KOKORO_VOICE", "")]);
    assert!(config.problems.is_empty() && config.voice.is_none() && config.threads.is_none());
}

#[test]
fn the_token_is_that_of_the_environment_or_else_of_the_file_it_names_or_else_the_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let named = folder.path().join("named");
    let token_of = |more: &[(&str, &str)]| {
        let source = config(&[&[("HF_HOME", home)], more].concat()).source();
        source.map(|source| match source {
            Source::Hub { token, .. } => token.map(|token| token.0),
            other => panic!("{other:?}"),
        })
    };
    let path = ("HF_TOKEN_PATH", named.to_str().unwrap());
    assert_eq!(token_of(&[path]).unwrap(), None);
    std::fs::write(folder.path().join("token"), "usual\n").unwrap();
    assert_eq!(token_of(&[]).unwrap().as_deref(), Some("usual"));
    assert_eq!(token_of(&[path]).unwrap(), None);
    std::fs::write(&named, " named\r\n").unwrap();
    assert_eq!(token_of(&[path]).unwrap().as_deref(), Some("named"));
    assert_eq!(token_of(&[path, ("HF_TOKEN", "own")]).unwrap().as_deref(), Some("own"));
    assert_eq!(token_of(&[path, ("HF_TOKEN", " ")]).unwrap().as_deref(), Some("named"));
    std::fs::write(&named, "\n").unwrap();
    assert_eq!(token_of(&[path]).unwrap(), None);
    let error = token_of(&[("HF_TOKEN_PATH", home)]).unwrap_err().to_string();
    assert!(error.contains(home), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn folders_follow_the_conventions() {
    let home = config(&[("HOME", "/h")]);
    assert_eq!(home.cache, PathBuf::from("/h/.cache/koe"));
    assert_eq!(home.hub, PathBuf::from("/h/.cache/huggingface/hub"));
    let xdg = config(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]);
    assert_eq!(xdg.cache, PathBuf::from("/x/koe"));
    assert_eq!(xdg.hub, PathBuf::from("/f/hub"));
    let own = config(&[("KOKORO_CACHE_DIR", "/c"), ("HF_HUB_CACHE", "/u"), ("HF_HOME", "/f")]);
    assert_eq!((own.cache, own.hub), (PathBuf::from("/c"), PathBuf::from("/u")));
}
