//! Small images for registries.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use pristine::oci::{ImageConfig, ImageRef, Layout};

/// A layout with one image of one file of `content`, so large that it does not come in one piece.
pub(super) fn layout(folder: &Path, content: &str) -> (Layout, ImageRef) {
    let layout = Layout::open(folder).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    // Without a pattern, so that it is as large when it is packed.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let bytes: Vec<u8> = content.bytes().chain(noise.take(1 << 20)).collect();
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "etc/content", bytes.as_slice())
        .unwrap();
    let mut writer = layout.layer_writer().unwrap();
    writer.write_all(&tar.into_inner().unwrap()).unwrap();
    let layer = writer.finish().unwrap();
    let config = ImageConfig {
        architecture: "x86_64".to_owned(),
        epoch: 0,
        env: BTreeMap::new(),
        labels: BTreeMap::from([("io.pristine.lock".to_owned(), "sha256:1".to_owned())]),
        history: vec!["one file".to_owned()],
    };
    let image = layout.write_image(&[layer], &config).unwrap();
    (layout, image)
}
