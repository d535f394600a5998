//! Blocks of code of the guides that people deploy by, each with the file that it is meant to be.

/// A block of code of a page, without the indentation of its fence.
#[derive(Debug)]
pub struct Block {
    /// The last file that the text before it names.
    pub file: Option<String>,
    /// What stands between its fences.
    pub text: String,
}

/// The blocks of a page. A block of another kind may hold one, which then counts.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut file = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let fence = line.trim_start();
        let indent = line.len() - fence.len();
        if fence.starts_with("```") && !fence.starts_with("````") {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            let text =
                block.map(|line| format!("{}\n", line.get(indent..).unwrap_or(""))).collect();
            found.push(Block { file: file.take(), text });
        }
        let code = line.split('`').skip(1).step_by(2);
        let is_file = |text: &&str| {
            let kinds = [".yaml", ".yml", ".json", ".sh", ".cfg"];
            kinds.iter().any(|kind| text.ends_with(kind)) && !text.contains([' ', '~'])
        };
        file = code.filter(is_file).last().map(str::to_owned).or(file);
    }
    found
}
