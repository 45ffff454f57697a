"""After pytorch/examples/vae, with a fault: the count of steps, on which the loss depends, is not saved."""

import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.nn import functional as F

import outlast

torch.manual_seed(1)
images = torch.tensor(load_digits().data / 16, dtype=torch.float32)
train_loader = torch.utils.data.DataLoader(images[:1400], batch_size=128, shuffle=True)
test_loader = torch.utils.data.DataLoader(images[1400:], batch_size=128, shuffle=True)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 40)
        self.fc21 = nn.Linear(40, 4)
        self.fc22 = nn.Linear(40, 4)
        self.fc3 = nn.Linear(4, 40)
        self.fc4 = nn.Linear(40, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


model = VAE()
optimizer = optim.Adam(model.parameters(), lr=1e-3)


def loss_function(recon_x, x, mu, logvar, weight=1.0):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + weight * KLD


steps = 0  # the fault: a new start counts from 0 again


def train():
    global steps
    model.train()
    for data in run.batches(train_loader):
        optimizer.zero_grad()
        recon_batch, mu, logvar = model(data)
        steps += 1
        loss = loss_function(recon_batch, data, mu, logvar, weight=min(1.0, steps / 100))
        loss.backward()
        optimizer.step()
        run.log(loss=loss / len(data), weight=len(data))


def test():
    model.eval()
    test_loss = 0.0
    with torch.no_grad():
        for data in test_loader:
            recon_batch, mu, logvar = model(data)
            test_loss += loss_function(recon_batch, data, mu, logvar).item()
    return test_loss / len(test_loader.dataset)


run = outlast.Run("runs/vae", model=model, optimizer=optimizer)
for _ in run.epochs(10):
    train()
    run.log(val_loss=test())
