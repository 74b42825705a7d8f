//! Plain loops compiled for the widest vectors of the machine at hand.
//!
//! Multiplications and additions are never fused, so every machine gives the same bits.

use pulp::{Arch, Simd, WithSimd};

/// A plain loop over slices.
pub(crate) trait Vectorised {
    /// What it gives.
    type Output;

    /// Must be inlined, and so must all it calls: what is compiled apart knows nothing of the machine.
    fn run(self) -> Self::Output;
}

struct Compiled<L>(L);

impl<L: Vectorised> WithSimd for Compiled<L> {
    type Output = L::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> L::Output {
        self.0.run()
    }
}

/// Runs a loop.
pub(crate) fn vectorised<L: Vectorised>(of: L) -> L::Output {
    Arch::new().dispatch(Compiled(of))
}
