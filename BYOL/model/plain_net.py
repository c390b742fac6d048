"""Plain convolutional networks that train on two cores of a laptop in minutes.

:mod:`BYOL.model.timm_registry` registers them in timm, so that exported weights load like those of
any other timm model.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

# name → width and stride of every 3×3 convolution
PLAIN_NETS: dict[str, tuple[tuple[int, int], ...]] = {
    "plain5": ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)),
    "plain6": ((32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1)),
}


class PlainNet(nn.Module):
    """(Conv 3×3 → BatchNorm → ReLU) × n, then an average over the positions.

    Args:
        layers: (width, stride) of every convolution.
        in_chans: channels of the images.
        num_classes: number of outputs of a linear classifier; 0 for none.

    Shapes: (B, in_chans, H, W) → (B, num_features), or (B, num_classes).
    """

    def __init__(
        self, layers: tuple[tuple[int, int], ...], in_chans: int = 3, num_classes: int = 0
    ):
        super().__init__()
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        width_in = in_chans
        for i, (width, stride) in enumerate(layers):
            conv = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            blocks[f"conv{i}"] = conv
            blocks[f"bn{i}"] = nn.BatchNorm2d(width)
            blocks[f"relu{i}"] = nn.ReLU(inplace=True)
            width_in = width
        self.num_features = width_in
        self.num_classes = num_classes
        self.features = nn.Sequential(blocks)
        self.fc = nn.Linear(width_in, num_classes) if num_classes else nn.Identity()
        self.grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Keep only the activations between layers, as timm's networks do."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the classifier; the name of the method is timm's."""
        return self.fc

    def forward_features(self, x: Tensor) -> Tensor:
        """Map (B, in_chans, H, W) to (B, num_features, h, w)."""
        if self.grad_checkpointing and self.training:
            layers = len(self.features) // 3
            return checkpoint_sequential(self.features, layers, x, use_reentrant=False)
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_chans, H, W) to (B, num_features), or (B, num_classes)."""
        # With the channels last, the gradient of the mean has the layout of the feature map. In
        # another layout the gradient of the last ReLU takes twenty times as long.
        return self.fc(self.forward_features(x).permute(0, 2, 3, 1).mean(dim=(1, 2)))
