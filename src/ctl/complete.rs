//! Completions for shells, printed from the tables that the parsers read.
//!
//! ```text
//! pflowctl  pflowN  flowdst ...                 words of interfaces, and values where they are few
//!           show    states  address ...
//!           tap     pflowN
//! pflow     -o      json                        flags, their values where they are few, else files
//! pflow     pflowN  flowdst ...                 words of interfaces, as pflowctl's
//! ```
//! One script completes both programs. Names of interfaces are asked of the running pflow while the user types.

use super::flags::FLAGS;
use crate::config::{interface_word_names, program_word_names, values_of};
use crate::control::request::{FILTERS, REQUESTS, SHOWN};
use crate::control::top::Key;
use crate::options;
use crate::output::Form;

/// Makes a script.
type Script = fn() -> String;

/// Shells that there are completions for, and what makes them.
pub const SHELLS: &[(&str, Script)] = &[("sh", sh), ("bash", bash), ("zsh", zsh), ("fish", fish)];

/// The script for `shell`.
pub(super) fn script(shell: &str) -> Result<String, String> {
    let found = SHELLS.iter().find(|(name, _)| *name == shell);
    found.map(|(_, script)| script()).ok_or_else(|| {
        let names: Vec<_> = SHELLS.iter().map(|(name, _)| *name).collect();
        format!("-C: {shell} is not one of: {}", names.join(" "))
    })
}

/// Prints the interfaces there are.
const INTERFACES: &str = "pflowctl list 2>/dev/null | sed 's/:.*//'";

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

fn first_words() -> String {
    let mut words: Vec<_> = REQUESTS
        .iter()
        .map(|(name, ..)| *name)
        .chain(program_word_names())
        .collect();
    words.sort_unstable();
    words.dedup();
    joined(words.into_iter())
}

fn shown() -> String {
    joined(SHOWN.iter().map(|(name, ..)| *name))
}

fn filters() -> String {
    joined(FILTERS.iter().map(|(name, ..)| *name))
}

/// What may follow `top`.
fn top_words() -> String {
    format!("by {}", filters())
}

fn interface_words() -> String {
    joined(interface_word_names().map(|(name, _)| name))
}

fn flags() -> String {
    let flags: Vec<_> = FLAGS
        .iter()
        .map(|flag| format!("-{}", flag.letter))
        .collect();
    flags.join(" ")
}

/// pflow's flags.
fn flags_of_pflow() -> String {
    let flags: Vec<_> = options::FLAGS
        .iter()
        .map(|flag| format!("-{}", flag.letter))
        .collect();
    flags.join(" ")
}

/// What pflow's flags take where it is one of few words; everything else is a file's name or the user's own.
fn values_of_flags() -> [(&'static str, String); 2] {
    [
        ("-o", joined(Form::VALUES.iter().map(|(name, _)| *name))),
        (
            "-S",
            joined(options::DIRECTIONS.iter().map(|(name, _)| *name)),
        ),
    ]
}

/// Words with few values, and the values.
fn valued() -> Vec<(&'static str, String)> {
    let words = interface_word_names().map(|(name, _)| (name, values_of(name)));
    let keys = Key::VALUES.iter().map(|(name, ..)| *name).collect();
    words
        .filter(|(_, values)| !values.is_empty())
        .chain([("by", keys)])
        .map(|(name, values)| (name, joined(values.into_iter())))
        .collect()
}

/// On OpenBSD sh is ksh, which completes from arrays.
fn sh() -> String {
    format!(
        "# pflowctl completions for the ksh of OpenBSD: . this file\n\
         if [ -n \"$KSH_VERSION\" ]; then\n\
         \tset -A complete_pflowctl_1 -- {} $({INTERFACES})\n\
         \tset -A complete_pflowctl_2 -- {} {}\n\
         \tset -A complete_pflowctl_3 -- {}\n\
         fi\n",
        first_words(),
        shown(),
        interface_words(),
        top_words()
    )
}

/// The lines of a `case` for words with few values.
fn cases(line: impl Fn(&str) -> String) -> String {
    lines(valued().into_iter(), line)
}

/// The same with pflow's flags.
fn cases_of_pflow(line: impl Fn(&str) -> String) -> String {
    lines(values_of_flags().into_iter().chain(valued()), line)
}

fn lines(
    cases: impl Iterator<Item = (&'static str, String)>,
    line: impl Fn(&str) -> String,
) -> String {
    cases
        .map(|(word, values)| format!("\t{word}) {};;\n", line(&values)))
        .collect()
}

fn bash() -> String {
    format!(
        "# pflowctl and pflow completions for bash: . this file\n\
         _pflowctl() {{\n\
         \tlocal cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=\n\
         \tlocal at=1\n\
         \twhile [[ ${{COMP_WORDS[at]}} == -* && $at -lt $COMP_CWORD ]]; do\n\
         \t\tcase ${{COMP_WORDS[at]}} in -s|-d|-C) at=$((at + 1));; esac\n\
         \t\tat=$((at + 1))\n\
         \tdone\n\
         \tcase $prev in\n\
         {}\
         \t-C) words=\"{}\";;\n\
         \t-d|tap) words=$({INTERFACES});;\n\
         \tesac\n\
         \tif [[ -z $words ]]; then\n\
         \t\tcase $((COMP_CWORD - at)):${{COMP_WORDS[at]}}:${{COMP_WORDS[at+1]}} in\n\
         \t\t0:-*) words=\"{}\";;\n\
         \t\t0:*) words=\"{} $({INTERFACES})\";;\n\
         \t\t1:show:*) words=\"{}\";;\n\
         \t\t*:show:states) words=\"{}\";;\n\
         \t\t*:show:top|*:top:*) words=\"{}\";;\n\
         \t\t*:pflow*) words=\"{}\";;\n\
         \t\tesac\n\
         \tfi\n\
         \tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\
         }}\n\
         complete -F _pflowctl pflowctl\n\
         _pflow() {{\n\
         \tlocal cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words=\n\
         \tcase $prev in\n\
         {}\
         \t-[fprs]) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n\
         \tesac\n\
         \tif [[ -z $words ]]; then\n\
         \t\tcase \" ${{COMP_WORDS[*]:1:COMP_CWORD-1}}\" in\n\
         \t\t*\" pflow\"[0-9]*) words=\"{}\";;\n\
         \t\t*) words=\"{} pflow0\";;\n\
         \t\tesac\n\
         \tfi\n\
         \tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n\
         }}\n\
         complete -F _pflow pflow\n",
        cases(|values| format!("words=\"{values}\"")),
        joined(SHELLS.iter().map(|(name, _)| *name)),
        flags(),
        first_words(),
        shown(),
        filters(),
        top_words(),
        interface_words(),
        cases_of_pflow(|values| format!("words=\"{values}\"")),
        interface_words(),
        flags_of_pflow(),
    )
}

fn zsh() -> String {
    format!(
        "#compdef pflowctl pflow\n\
         # pflowctl and pflow completions for zsh: _pflowctl in a directory of $fpath\n\
         if [[ $service = pflow ]]; then\n\
         case ${{words[CURRENT-1]}} in\n\
         {}\
         \t-[fprs]) _files; return;;\n\
         esac\n\
         if [[ \" ${{words[2,CURRENT-1]}}\" = *\" pflow\"[0-9]* ]]; then compadd -- {}\n\
         else compadd -- {} pflow0\n\
         fi\n\
         return\n\
         fi\n\
         local at=2\n\
         while [[ ${{words[at]}} == -* && $at -lt $CURRENT ]]; do\n\
         \tcase ${{words[at]}} in (-s|-d|-C) at=$((at + 1));; esac\n\
         \tat=$((at + 1))\n\
         done\n\
         case ${{words[CURRENT-1]}} in\n\
         {}\
         \t-C) compadd -- {}; return;;\n\
         \t-d|tap) compadd -- $({INTERFACES}); return;;\n\
         esac\n\
         case $((CURRENT - at)):${{words[at]}}:${{words[at+1]}} in\n\
         \t0:-*) compadd -- {};;\n\
         \t0:*) compadd -- {} $({INTERFACES});;\n\
         \t1:show:*) compadd -- {};;\n\
         \t*:show:states) compadd -- {};;\n\
         \t*:show:top|*:top:*) compadd -- {};;\n\
         \t*:pflow*) compadd -- {};;\n\
         esac\n",
        cases_of_pflow(|values| format!("compadd -- {values}; return")),
        interface_words(),
        flags_of_pflow(),
        cases(|values| format!("compadd -- {values}; return")),
        joined(SHELLS.iter().map(|(name, _)| *name)),
        flags(),
        first_words(),
        shown(),
        filters(),
        top_words(),
        interface_words(),
    )
}

fn fish() -> String {
    let seen = "__fish_seen_subcommand_from";
    let mut text = "# pflowctl completions for fish: in ~/.config/fish/completions\n\
                    complete -c pflowctl -f\n"
        .to_owned();
    for flag in FLAGS {
        let argument = if flag.argument.is_some() { " -x" } else { "" };
        let help = flag.help.replace('\'', "");
        text += &format!(
            "complete -c pflowctl -s {}{argument} -d '{help}'\n",
            flag.letter
        );
    }
    let mut add = |condition: &str, words: &str| {
        text += &format!("complete -c pflowctl -n '{condition}' -a '{words}'\n");
    };
    add("__fish_is_nth_token 1", &first_words());
    let interfaces = INTERFACES.replace('\'', "\\'");
    add("__fish_is_nth_token 1", &format!("({interfaces})"));
    add(
        &format!("{seen} tap; and __fish_is_nth_token 2"),
        &format!("({interfaces})"),
    );
    add(&format!("{seen} show; and __fish_is_nth_token 2"), &shown());
    add(&format!("{seen} states"), &filters());
    add(&format!("{seen} top"), &top_words());
    add(
        "string match -q \"*pflow[0-9]*\" -- (commandline)",
        &interface_words(),
    );
    for (word, values) in valued() {
        add(&format!("test (commandline -opc)[-1] = {word}"), &values);
    }
    text + &fish_of_pflow()
}

fn fish_of_pflow() -> String {
    let mut text = String::new();
    for flag in options::FLAGS {
        let argument = if flag.argument.is_some() { " -r" } else { "" };
        let help = flag.help.replace('\'', "");
        text += &format!(
            "complete -c pflow -s {}{argument} -d '{help}'\n",
            flag.letter
        );
    }
    for (flag, values) in values_of_flags() {
        text += &format!(
            "complete -c pflow -s {} -x -a '{values}'\n",
            flag.trim_start_matches('-')
        );
    }
    let behind = "string match -q \"* pflow[0-9]*\" -- (commandline)";
    text += &format!(
        "complete -c pflow -n '{behind}' -f -a '{}'\n",
        interface_words()
    );
    for (word, values) in valued() {
        let after = format!("test (commandline -opc)[-1] = {word}");
        text += &format!("complete -c pflow -n '{after}' -f -a '{values}'\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn every_script_has_every_word() {
        for (shell, script) in SHELLS {
            let script = script();
            let words: Vec<&str> = script
                .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';'))
                .collect();
            let known = [first_words(), shown(), top_words(), interface_words()].join(" ");
            for word in known.split(' ') {
                assert!(words.contains(&word), "{shell}: {word}");
            }
        }
        for (shell, script) in SHELLS.iter().filter(|(shell, _)| *shell != "sh") {
            let script = script();
            for (_, values) in values_of_flags() {
                assert!(script.contains(&values), "{shell}: {values}");
            }
            for flag in options::FLAGS {
                let fish = format!("-c pflow -s {}", flag.letter);
                let has = script.contains(&flags_of_pflow()) || script.contains(&fish);
                assert!(has, "{shell}: {}", flag.letter);
            }
        }
        assert!(
            script("tcsh")
                .unwrap_err()
                .ends_with("is not one of: sh bash zsh fish")
        );
    }

    #[test]
    fn bash_completes_pflows_flags_values_and_words() {
        let completed = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let asked = format!(
                "{}\nCOMP_WORDS=({}); COMP_CWORD={}; _pflow; echo \"${{COMPREPLY[*]}}\"\n",
                bash(),
                words
                    .iter()
                    .map(|word| format!("\"{word}\""))
                    .collect::<Vec<_>>()
                    .join(" "),
                words.len() - 1
            );
            let output = Command::new("bash").args(["-c", &asked]).output();
            output.map(|output| String::from_utf8(output.stdout).unwrap())
        };
        // Not every system has bash.
        if let Ok(flags) = completed("pflow -") {
            assert!(flags.contains("-a ") && flags.contains("-o "), "{flags}");
            assert!(completed("pflow -o js").unwrap().starts_with("json"));
            let words = completed("pflow -a pflow0 flowd").unwrap();
            assert!(words.contains("flowdst"), "{words}");
        }
    }

    #[test]
    fn scripts_parse_in_the_shells_that_are_here() {
        for (shell, script) in SHELLS {
            let child = Command::new(shell)
                .args(["-n", "/dev/stdin"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(mut child) = child else { continue };
            let mut stdin = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut stdin, script().as_bytes()).unwrap();
            drop(stdin);
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
