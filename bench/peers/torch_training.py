"""A case of the training benchmark in PyTorch: a plain loop over shuffled batches of tensors in memory.

    torch_training.py CASE_JSON
"""

import math
import time

import numpy as np
import torch
from torch import nn

from training_table import Progress, read_case, read_rows


def glorot(layer: nn.Module) -> None:
    """Starts as Keras does, so that losses can be compared after few epochs."""
    for name, tensor in layer.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(tensor)
        elif name.startswith("weight_hh"):
            for part in tensor.chunk(4):
                nn.init.orthogonal_(part)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(tensor)
        elif name == "weight":
            nn.init.xavier_uniform_(tensor)
    if isinstance(layer, nn.LSTM):
        for name, tensor in layer.named_parameters():
            if name.startswith("bias_ih"):
                with torch.no_grad():
                    tensor[layer.hidden_size : 2 * layer.hidden_size] = 1


class Recurrent(nn.Module):
    """LSTM layers; the last step goes on."""

    def __init__(self, case):
        super().__init__()
        self.lstm = nn.LSTM(case.columns, case.units[0], len(case.units), batch_first=True)
        self.output = nn.Linear(case.units[-1], case.classes or 1)

    def forward(self, x):
        return self.output(self.lstm(x)[0][:, -1])


class Encoder(nn.Module):
    """Encoder blocks that normalise after each part (Vaswani et al. 2017, "Attention Is All You Need", section 3.1)."""

    def __init__(self, case):
        super().__init__()
        width, inner = case.units
        step = torch.arange(case.steps)[:, None]
        angle = step * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
        places = torch.zeros(case.steps, width)
        places[:, 0::2], places[:, 1::2] = torch.sin(angle), torch.cos(angle)
        self.register_buffer("places", places)
        self.first = nn.Linear(case.columns, width)
        block = nn.TransformerEncoderLayer(width, case.heads, inner, dropout=0, layer_norm_eps=1e-3, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2)
        self.output = nn.Linear(width, case.classes or 1)

    def forward(self, x):
        return self.output(self.blocks(self.first(x) + self.places).mean(dim=1))


def network(case) -> nn.Module:
    if case.kind == "lstm":
        net = Recurrent(case)
    elif case.kind == "transformer":
        net = Encoder(case)
    else:
        widths = [case.columns, *case.units]
        hidden = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
        net = nn.Sequential(*hidden, nn.Linear(widths[-1], case.classes or 1))
    for layer in net.modules():
        if isinstance(layer, (nn.Linear, nn.LSTM)):
            glorot(layer)
        elif isinstance(layer, nn.MultiheadAttention):
            for part in layer.in_proj_weight.chunk(3):
                nn.init.xavier_uniform_(part)
    return net


def main() -> None:
    case = read_case()
    torch.set_num_threads(case.threads)
    torch.manual_seed(case.seed)
    rows = {name: (torch.from_numpy(x), torch.from_numpy(y)) for name, (x, y) in read_rows(case).items()}
    x, y = rows["train"]
    net = network(case)
    optimizer = torch.optim.Adam(net.parameters(), lr=case.learning_rate, eps=1e-7)
    cross_entropy, squares = nn.CrossEntropyLoss(), nn.MSELoss()

    def loss_of(outputs, labels):
        return cross_entropy(outputs, labels) if case.classes else squares(outputs[:, 0], labels)

    def step(chosen) -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(net(x[chosen]), y[chosen])
        loss.backward()
        optimizer.step()
        return loss.detach()

    progress = Progress()
    step(torch.arange(case.batch_size))
    progress.first_step()
    for _ in range(case.epochs):
        begin = time.perf_counter()
        total = torch.zeros(())
        for chosen in torch.randperm(len(x)).split(case.batch_size):
            total += step(chosen)
        # As a loop that shows its loss: it is read once an epoch.
        total.item()
        progress.epochs.append(time.perf_counter() - begin)
    net.eval()
    with torch.no_grad():
        held_out, labels = rows["valid"]
        losses = [loss_of(net(part), of).item() * len(part) for part, of in zip(held_out.split(1000), labels.split(1000))]
    progress.report(f"torch {torch.__version__.split('+')[0]}", float(np.sum(losses) / len(held_out)))


if __name__ == "__main__":
    main()
