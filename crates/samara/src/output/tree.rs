//! Files of a torrent as a tree, directories shown once.

use super::{Palette, clean};
use crate::units;

/// A file to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Leaf<'a> {
    /// Its number, as `--files` takes it.
    pub(crate) index: usize,
    /// Its path.
    pub(crate) path: Vec<&'a str>,
    /// Bytes in it.
    pub(crate) len: u64,
    /// What is special about it, in a word or two.
    pub(crate) mark: Option<&'static str>,
}

/// The lines that show `leaves`, in their order. Columns are aligned: number, size, indented name.
pub(crate) fn lines(leaves: &[Leaf<'_>], style: Palette) -> Vec<String> {
    let index_width = leaves.iter().map(|l| l.index).max().unwrap_or(0).to_string().len();
    let size_width = leaves.iter().map(|l| units::size(l.len).len()).max().unwrap_or(0);
    let mut lines = Vec::with_capacity(leaves.len());
    let mut open: &[&str] = &[];
    for leaf in leaves {
        let Some((name, dirs)) = leaf.path.split_last() else { continue };
        let shared = open.iter().zip(dirs).take_while(|(a, b)| a == b).count();
        for (depth, dir) in dirs.iter().enumerate().skip(shared) {
            let margin = index_width + 2 + size_width + 2 + 2 * depth;
            lines.push(format!("{:margin$}{}", "", style.bold(format_args!("{}/", clean(dir)))));
        }
        open = dirs;
        let mark = leaf.mark.map(|m| format!("  {}", style.dim(format_args!("({m})"))));
        lines.push(format!(
            "{}  {:>size_width$}  {:indent$}{}{}",
            style.dim(format!("{:>index_width$}", leaf.index)),
            units::size(leaf.len),
            "",
            clean(name),
            mark.unwrap_or_default(),
            indent = 2 * dirs.len(),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_named_once_and_columns_are_aligned() {
        let leaves: Vec<Leaf<'_>> = ["a/b/one", "a/b/two", "a/three", "c/four"]
            .iter()
            .map(|p| p.split('/').collect())
            .enumerate()
            .map(|(index, path)| Leaf { index, path, len: 1 << (index * 10), mark: None })
            .collect();
        let text = lines(&leaves, Palette::new(false)).join("\n");
        let expected = "
          a/
            b/
0    1 B      one
1  1 KiB      two
2  1 MiB    three
          c/
3  1 GiB    four";
        assert_eq!(text, &expected[1..]);
    }
}
