"""After keras.io/examples/timeseries/timeseries_classification_transformer: early stopping, on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers

import outlast

keras.utils.set_random_seed(0)

n_classes = 2


def noisy_waves(count):
    """Two classes of waves, in place of the sounds of an engine."""
    y = np.random.randint(0, n_classes, count)
    time = np.linspace(0, 6, 40)
    x = np.sin(time * (1 + y[:, None])) + np.random.normal(scale=0.5, size=(count, 40))
    return x[:, :, None].astype("float32"), y


x_train, y_train = noisy_waves(320)
x_test, y_test = noisy_waves(64)
idx = np.random.permutation(len(x_train))
x_train, y_train = x_train[idx], y_train[idx]


def transformer_encoder(inputs, head_size, num_heads, ff_dim, dropout=0):
    x = layers.MultiHeadAttention(key_dim=head_size, num_heads=num_heads, dropout=dropout)(inputs, inputs)
    x = layers.Dropout(dropout)(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    res = x + inputs
    x = layers.Conv1D(filters=ff_dim, kernel_size=1, activation="relu")(res)
    x = layers.Dropout(dropout)(x)
    x = layers.Conv1D(filters=inputs.shape[-1], kernel_size=1)(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return x + res


def build_model(
    input_shape, head_size, num_heads, ff_dim, num_transformer_blocks, mlp_units, dropout=0, mlp_dropout=0
):
    inputs = keras.Input(shape=input_shape)
    x = inputs
    for _ in range(num_transformer_blocks):
        x = transformer_encoder(x, head_size, num_heads, ff_dim, dropout)
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    for dim in mlp_units:
        x = layers.Dense(dim, activation="relu")(x)
        x = layers.Dropout(mlp_dropout)(x)
    outputs = layers.Dense(n_classes, activation="softmax")(x)
    return keras.Model(inputs, outputs)


model = build_model(
    x_train.shape[1:],
    head_size=8,
    num_heads=2,
    ff_dim=4,
    num_transformer_blocks=2,
    mlp_units=[16],
    mlp_dropout=0.4,
    dropout=0.25,
)
model.compile(
    loss="sparse_categorical_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate=1e-3),
    metrics=["sparse_categorical_accuracy"],
)

callbacks = [outlast.EarlyStopping(patience=10, restore_best_weights=True)]
run = outlast.Run("runs/waves", callbacks)
model.fit(x_train, y_train, validation_split=0.2, epochs=200, batch_size=64, callbacks=[run])

model.evaluate(x_test, y_test, verbose=1)
