"""After keras.io/examples/vision/image_classification_from_scratch: tf.data and augmentation, on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers
from sklearn.datasets import load_digits
from tensorflow import data as tf_data

import outlast

keras.utils.set_random_seed(1337)

image_size = (16, 16)
batch_size = 32

for number, (image, label) in enumerate(zip(*load_digits(return_X_y=True), strict=True)):
    if label < 2:  # two classes, as cats and dogs are
        os.makedirs(f"Digits/{label}", exist_ok=True)
        keras.utils.save_img(f"Digits/{label}/{number}.png", image.reshape(8, 8, 1), scale=True)

train_ds, val_ds = keras.utils.image_dataset_from_directory(
    "Digits", validation_split=0.2, subset="both", seed=1337, image_size=image_size, batch_size=batch_size
)

data_augmentation_layers = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)]


def data_augmentation(images):
    for layer in data_augmentation_layers:
        images = layer(images)
    return images


train_ds = train_ds.prefetch(tf_data.AUTOTUNE)
val_ds = val_ds.prefetch(tf_data.AUTOTUNE)


def make_model(input_shape, num_classes):
    inputs = keras.Input(shape=input_shape)
    x = data_augmentation(inputs)  # the example's first option: augmentation is a part of the model
    x = layers.Rescaling(1.0 / 255)(x)
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    previous_block_activation = x
    for size in [16]:
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(size, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(size, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(size, 1, strides=2, padding="same")(previous_block_activation)
        x = layers.add([x, residual])
        previous_block_activation = x
    x = layers.SeparableConv2D(32, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.25)(x)
    outputs = layers.Dense(1 if num_classes == 2 else num_classes, activation=None)(x)
    return keras.Model(inputs, outputs)


model = make_model(input_shape=(*image_size, 3), num_classes=2)

epochs = 3
callbacks = [outlast.ModelCheckpoint("save_at_{epoch}.keras")]
model.compile(
    optimizer=keras.optimizers.Adam(3e-4),
    loss=keras.losses.BinaryCrossentropy(from_logits=True),
    metrics=[keras.metrics.BinaryAccuracy(name="acc")],
)
run = outlast.Run("runs/images", callbacks)
model.fit(run.data(train_ds), epochs=epochs, callbacks=[run], validation_data=val_ds)
