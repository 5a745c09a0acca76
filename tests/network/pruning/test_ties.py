"""Which channels are tied: adds, depthwise, zero-padded shortcuts, flatten, what is fixed and why."""

from torch import Tensor, nn

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.network.pruning import channel_ties, refusals
from bitjoule.zoo.mobilenet import InvertedResidual
from bitjoule.zoo.resnet import CifarResNet


def captured(name, **options):
    model = zoo.build(name, options, 0)
    return capture(model, input_shape=zoo.input_shape(name, options), name=name)


def groups_of(net):
    ties = channel_ties(net.graph, refusals(net))
    return {group.layers: len(group.ties) for group in ties.groups}


def test_identity_shortcuts_tie_a_stage():
    found = groups_of(capture(CifarResNet(2, "B", 1.0, 10, 3), input_shape=(1, 3, 8, 8)))
    assert found["conv1", "layer1.0.conv2", "layer1.1.conv2"] == 16 and found["layer1.0.conv1",] == 16
    assert found["layer2.0.conv2", "layer2.0.shortcut.0", "layer2.1.conv2"] == 32
    assert sum(found.values()) == (16 + 32 + 64) * 3


def test_padded_shortcuts_tie_stages_in_their_middle():
    """Option A: 8 zero channels before and 8 behind the 16 of the stage before."""
    net = capture(CifarResNet(1, "A", 1.0, 10, 3), input_shape=(1, 3, 8, 8))
    ties = channel_ties(net.graph, refusals(net))
    stem, second, third = (ties.slots[name] for name in ("conv1", "layer2.0.add", "layer3.0.add"))
    assert second[8:24] == stem and third[16:48] == second
    assert len({*second[:8], *second[24:]} & set(stem)) == 0
    sizes = {group.layers: len(group.ties) for group in ties.groups}
    assert sizes["conv1", "layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv2"] == 16
    assert sizes["layer2.0.conv2", "layer3.0.conv2"] == 16 and sizes["layer3.0.conv2",] == 32


def test_depthwise_ties_its_input_and_inverted_residuals_their_ends():
    blocks = nn.Sequential(
        nn.Conv2d(3, 16, 1), InvertedResidual(16, 16, 1, 1), InvertedResidual(16, 8, 1, 6), nn.Conv2d(8, 4, 1)
    )
    found = groups_of(capture(blocks, input_shape=(1, 3, 4, 4)))
    assert found == {
        ("0", "1.conv.0.0", "1.conv.1"): 16,  # expansion 1: the depthwise convolution reads the stream
        ("2.conv.0.0", "2.conv.1.0"): 96,
        ("2.conv.2",): 8,
    }


def test_a_linear_layer_behind_flatten_reads_every_place_of_a_channel():
    net = captured("moons", image_size=16, filters=(8, 8, 16))
    ties = channel_ties(net.graph, refusals(net))
    last = net.graph.mac_nodes()[-2]
    flat = ties.slots[net.graph.mac_nodes()[-1].inputs[0]]
    places = len(flat) // len(ties.slots[last.output])
    assert flat == tuple(tie for tie in ties.slots[last.output] for _ in range(places)) and places > 1


class Odd(nn.Module):
    """Channels that cannot be followed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.grouped = nn.Conv2d(16, 16, 1, groups=4)
        self.second = nn.Conv2d(16, 24, 1)
        self.twice = nn.Conv2d(24, 24, 1)
        self.third = nn.Conv2d(24, 16, 1)
        self.head = nn.Linear(16 * 16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.grouped(self.first(x)))
        x = self.third(self.twice(self.twice(x)))
        y: Tensor = self.head(x.permute(0, 2, 3, 1).flatten(1))
        return y


def test_what_cannot_be_followed_is_fixed_with_its_reason():
    net = capture(Odd(), input_shape=(1, 3, 4, 4))
    ties = channel_ties(net.graph, refusals(net))
    assert ties.groups == ()
    assert ties.fixed["x"] == "it is a network input"
    assert ties.fixed["first"] == "grouped is a convolution of 4 groups"
    assert ties.fixed["second"] == "twice shares parameters with another operator"
    assert "through which channels are not followed" in ties.fixed["third"]
    assert ties.fixed["head"] == "it is a network output"
