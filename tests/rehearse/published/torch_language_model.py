"""After pytorch/examples/word_language_model: an LSTM whose rate the script itself cuts."""

import math

import torch
from sklearn.datasets import load_digits
from torch import nn

import outlast

torch.manual_seed(1111)

epochs, batch_size, eval_batch_size, bptt = 40, 20, 10, 35
emsize, nhid, nlayers, dropout, clip = 16, 16, 2, 0.2, 0.25


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    return data.narrow(0, 0, nbatch * bsz).view(bsz, -1).t().contiguous()


corpus = torch.tensor(load_digits().data, dtype=torch.int64).view(-1)  # the grey values are the words
ntokens = int(corpus.max()) + 1
train_data = batchify(corpus[:8000], batch_size)
val_data = batchify(corpus[8000:10000], eval_batch_size)
test_data = batchify(corpus[10000:12000], eval_batch_size)


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return nn.functional.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return tuple(weight.new_zeros(self.nlayers, bsz, self.nhid) for _ in range(2))


model = RNNModel(ntokens, emsize, nhid, nlayers, dropout)
criterion = nn.NLLLoss()


def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


def get_batch(source, i):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


def evaluate(data_source):
    model.eval()
    total_loss = 0.0
    hidden = model.init_hidden(eval_batch_size)
    with torch.no_grad():
        for i in range(0, data_source.size(0) - 1, bptt):
            data, targets = get_batch(data_source, i)
            output, hidden = model(data, hidden)
            hidden = repackage_hidden(hidden)
            total_loss += len(data) * criterion(output, targets).item()
    return total_loss / (len(data_source) - 1)


def train():
    model.train()
    hidden = model.init_hidden(batch_size)
    for i in run.batches(range(0, train_data.size(0) - 1, bptt)):
        data, targets = get_batch(train_data, i)
        model.zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        run.log(loss=loss)


run = outlast.Run("runs/words", model=model, optimizer=[])
for epoch in run.epochs(epochs):
    lr = run.extra.get("lr", 20)
    best_val_loss = run.extra.get("best_val_loss")
    train()
    val_loss = evaluate(val_data)
    run.log(val_loss=val_loss)
    print(f"| end of epoch {epoch:3d} | valid loss {val_loss:5.2f} | valid ppl {math.exp(val_loss):8.2f}")
    if not best_val_loss or val_loss < best_val_loss:
        torch.save(model.state_dict(), "model.pt")
        best_val_loss = val_loss
    else:
        lr /= 4.0
    run.extra.update(lr=lr, best_val_loss=best_val_loss)

model.load_state_dict(torch.load("model.pt"))
model.rnn.flatten_parameters()
print(f"| End of training | test loss {evaluate(test_data):5.2f}")
