"""A component of Dejavu: a small transformer in torch that attends to the minutes of a game.

Each minute played is a token: lead, its change, expected margin and the place in the game. The last minute played
attends to all minutes up to it, and a linear head turns what it saw into corrections. The head starts at zero, so the
training starts at the linear models.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from dejavu_models.arrays import Floats, Singles
from dejavu_models.point.rows import INPUT, LEVELS, MARGIN, MARGIN_KNOWN, MINUTE
from dejavu_trainer.training.components import ComponentGames

ROWS = 30_000
"""Most rows to fit to: random games after random minutes."""

WIDTH, HEADS, LAYERS, EPOCHS, BATCH = 32, 4, 2, 5, 256

OPERATORS = 17
"""Version of the set of operators."""

MINUTES = LEVELS.stop - LEVELS.start


class Block(nn.Module):
    """One layer: the last minute's attention to all minutes played, then two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.keys = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.dense = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Return new tokens (n, minutes, WIDTH); `hidden` (n, 1, 1, minutes) is −∞ for minutes not played yet."""
        normal = self.before(tokens)
        shape = (-1, MINUTES, HEADS, WIDTH // HEADS)
        query = self.query(normal).reshape(shape).transpose(1, 2)
        keys, values = (each.reshape(shape).transpose(1, 2) for each in self.keys(normal).chunk(2, dim=-1))
        shares = torch.softmax(query @ keys.transpose(2, 3) / (WIDTH // HEADS) ** 0.5 + hidden, dim=-1)
        tokens = tokens + self.join((shares @ values).transpose(1, 2).reshape(-1, MINUTES, WIDTH))
        mixed: Tensor = tokens + self.dense(self.after(tokens))
        return mixed


class Network(nn.Module):
    """Rows (n, columns) in points → corrections (n, 2) in points."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, WIDTH)
        self.places = nn.Parameter(0.1 * torch.randn(MINUTES, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the corrections."""
        levels, minute = rows[:, LEVELS], rows[:, MINUTE : MINUTE + 1]
        place = torch.arange(1.0, MINUTES + 1)[None]
        hidden = (-1e4 * (place > minute))[:, None, None]
        changes = levels - torch.cat([torch.zeros_like(levels[:, :1]), levels[:, :-1]], dim=1)
        margin = torch.zeros_like(levels) + rows[:, MARGIN : MARGIN + 1]
        known = torch.zeros_like(levels) + rows[:, MARGIN_KNOWN : MARGIN_KNOWN + 1]
        tokens = self.enter(torch.stack([levels / 10, changes / 3, margin / 10, known], dim=-1)) + self.places
        for block in self.blocks:
            tokens = block(tokens, hidden)
        last = (place == minute).float()[..., None]
        corrections: Tensor = self.head((tokens * last).sum(dim=1))
        return corrections


class Transformer:
    """Fits the network to the corrections of the linear models."""

    def fit(self, games: ComponentGames, seed: int) -> FittedTransformer:
        """Fit the network; the same games and seed give the same network on the same machine."""
        rows, corrections = (torch.from_numpy(each).float() for each in games.sample(min(ROWS, 20 * len(games)), seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network()
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2)
            for _ in range(EPOCHS):
                for batch in torch.split(torch.randperm(len(rows)), BATCH):
                    loss = (network(rows[batch]) - corrections[batch]).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                    optimizer.step()
        return FittedTransformer(network.eval())


class FittedTransformer:
    """A fitted network; see `dejavu_trainer.training.components.FittedComponent`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def predict(self, rows: Singles) -> Floats:
        """Return the corrections of rows, (n, 2), in points."""
        with torch.inference_mode():
            corrections: Floats = self._network(torch.from_numpy(rows)).double().numpy()
        return corrections

    def to_onnx(self) -> bytes:
        """Return the network as an ONNX graph."""
        file, example = io.BytesIO(), torch.from_numpy(np.ones((2, LEVELS.stop), dtype=np.float32))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the newer exporter needs another package, and writes files
            torch.onnx.export(
                self._network,
                (example,),
                file,  # type: ignore[arg-type]  # this exporter writes to files in memory too
                dynamo=False,
                input_names=[INPUT],
                output_names=["corrections"],
                dynamic_axes={INPUT: {0: "n"}, "corrections": {0: "n"}},
                opset_version=OPERATORS,
            )
        return file.getvalue()
