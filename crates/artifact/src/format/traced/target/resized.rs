//! Images in another size.

use predictor::DataType;

use super::{Call, Step, Target};
use crate::format::traced::dim::Dim;
use crate::format::traced::tensor::Traced;

impl Target {
    /// An image `[batch, height, width, channels]` in another height and width, by ONNX's names of modes.
    pub(in crate::format) fn resized(
        &mut self,
        x: &Traced,
        [rows, columns]: [i64; 2],
        mode: &str,
        places: &str,
    ) -> Step {
        let [batch, height, width, channels] = x.shape.as_slice() else {
            return Err("it takes images only".into());
        };
        // TensorFlow takes the element below (i + 1/2) s, which is the nearest to ONNX's half pixel (i + 1/2) s - 1/2.
        let nearest = if places == "asymmetric" { "floor" } else { "round_prefer_ceil" };
        let first = self.transpose(x, &[0, 3, 1, 2])?;
        let sizes = match (height.known(), width.known()) {
            (Some(_), Some(_)) => {
                vec![batch.clone(), channels.clone(), Dim::fixed(rows), Dim::fixed(columns)]
            }
            _ => return Err("an image of open size is resized".into()),
        };
        let target = Traced::sizes(DataType::Int64, sizes.clone(), 1);
        let call = Call::new("Resize", &[&first])
            .without()
            .without()
            .input(&target)
            .text("mode", mode)
            .text("coordinate_transformation_mode", places)
            .text("nearest_mode", nearest);
        let y = self.emit(&call, DataType::Float32, sizes)?;
        self.transpose(&y, &[0, 2, 3, 1])
    }
}
