"""After keras.io/examples/generative/ddim: denoising diffusion with an averaged network, on TensorFlow."""

import math
import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from sklearn.datasets import load_digits

import outlast

keras.utils.set_random_seed(0)

num_epochs = 3
image_size = 8
kid_diffusion_steps = 3
plot_diffusion_steps = 5
min_signal_rate, max_signal_rate = 0.02, 0.95
embedding_dims = 8
embedding_max_frequency = 100.0
widths = [8, 12, 16]
block_depth = 1
batch_size = 32
ema = 0.99
learning_rate = 1e-3
weight_decay = 1e-4


def prepare_dataset(images):
    return (
        tf.data.Dataset.from_tensor_slices(images)
        .map(lambda image: tf.clip_by_value(image / 16.0, 0.0, 1.0), num_parallel_calls=tf.data.AUTOTUNE)
        .cache()
        .repeat(2)
        .shuffle(10 * batch_size)
        .batch(batch_size, drop_remainder=True)
        .prefetch(buffer_size=tf.data.AUTOTUNE)
    )


digits = load_digits().images[:320, :, :, None].astype("float32")
train_dataset = prepare_dataset(digits[:256])
val_dataset = prepare_dataset(digits[256:])


class KID(keras.metrics.Metric):
    """Distance of features; a small network that is not trained takes the place of Inception's."""

    def __init__(self, name="kid", **kwargs):
        super().__init__(name=name, **kwargs)
        self.kid_tracker = keras.metrics.Mean(name="kid_tracker")
        self.encoder = keras.Sequential(
            [
                keras.Input((image_size, image_size, 1)),
                layers.Rescaling(255.0),
                layers.Conv2D(8, 3, activation="relu"),
                layers.GlobalAveragePooling2D(),
            ],
            name="encoder",
        )

    def polynomial_kernel(self, features_1, features_2):
        feature_dimensions = ops.cast(ops.shape(features_1)[1], "float32")
        return (features_1 @ ops.transpose(features_2) / feature_dimensions + 1.0) ** 3.0

    def update_state(self, real_images, generated_images, sample_weight=None):
        real = self.encoder(real_images, training=False)
        generated = self.encoder(generated_images, training=False)
        kernel_real = self.polynomial_kernel(real, real)
        kernel_generated = self.polynomial_kernel(generated, generated)
        kernel_cross = self.polynomial_kernel(real, generated)
        others = 1.0 - ops.eye(batch_size)
        pairs = batch_size * (batch_size - 1.0)
        mean_real = ops.sum(kernel_real * others) / pairs
        mean_generated = ops.sum(kernel_generated * others) / pairs
        self.kid_tracker.update_state(mean_real + mean_generated - 2.0 * ops.mean(kernel_cross))

    def result(self):
        return self.kid_tracker.result()

    def reset_state(self):
        self.kid_tracker.reset_state()


@keras.saving.register_keras_serializable()
def sinusoidal_embedding(x):
    frequencies = ops.exp(ops.linspace(0.0, math.log(embedding_max_frequency), embedding_dims // 2))
    angular_speeds = ops.cast(2.0 * math.pi * frequencies, "float32")
    return ops.concatenate([ops.sin(angular_speeds * x), ops.cos(angular_speeds * x)], axis=3)


def residual_block(width):
    def apply(x):
        residual = x if x.shape[3] == width else layers.Conv2D(width, kernel_size=1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, kernel_size=3, padding="same", activation="swish")(x)
        x = layers.Conv2D(width, kernel_size=3, padding="same")(x)
        return layers.Add()([x, residual])

    return apply


def down_block(width):
    def apply(x, skips):
        for _ in range(block_depth):
            x = residual_block(width)(x)
            skips.append(x)
        return layers.AveragePooling2D(pool_size=2)(x)

    return apply


def up_block(width):
    def apply(x, skips):
        x = layers.UpSampling2D(size=2, interpolation="bilinear")(x)
        for _ in range(block_depth):
            x = layers.Concatenate()([x, skips.pop()])
            x = residual_block(width)(x)
        return x

    return apply


def get_network():
    noisy_images = keras.Input((image_size, image_size, 1))
    noise_variances = keras.Input((1, 1, 1))
    e = layers.Lambda(sinusoidal_embedding, output_shape=(1, 1, embedding_dims))(noise_variances)
    e = layers.UpSampling2D(size=image_size, interpolation="nearest")(e)
    x = layers.Conv2D(widths[0], kernel_size=1)(noisy_images)
    x = layers.Concatenate()([x, e])
    skips = []
    for width in widths[:-1]:
        x = down_block(width)(x, skips)
    for _ in range(block_depth):
        x = residual_block(widths[-1])(x)
    for width in reversed(widths[:-1]):
        x = up_block(width)(x, skips)
    x = layers.Conv2D(1, kernel_size=1, kernel_initializer="zeros")(x)
    return keras.Model([noisy_images, noise_variances], x, name="residual_unet")


@keras.saving.register_keras_serializable()
class DiffusionModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.normalizer = layers.Normalization()
        self.network = get_network()
        self.ema_network = keras.models.clone_model(self.network)
        self.built = True  # Keras saves no weights of a model without a call() otherwise

    def compile(self, **kwargs):
        super().compile(**kwargs)
        self.noise_loss_tracker = keras.metrics.Mean(name="n_loss")
        self.image_loss_tracker = keras.metrics.Mean(name="i_loss")
        self.kid = KID()

    @property
    def metrics(self):
        return [self.noise_loss_tracker, self.image_loss_tracker, self.kid]

    def denormalize(self, images):
        images = self.normalizer.mean + images * self.normalizer.variance**0.5
        return ops.clip(images, 0.0, 1.0)

    def diffusion_schedule(self, diffusion_times):
        start_angle = math.acos(max_signal_rate)
        end_angle = math.acos(min_signal_rate)
        diffusion_angles = start_angle + diffusion_times * (end_angle - start_angle)
        return ops.sin(diffusion_angles), ops.cos(diffusion_angles)

    def denoise(self, noisy_images, noise_rates, signal_rates, training):
        network = self.network if training else self.ema_network
        pred_noises = network([noisy_images, noise_rates**2], training=training)
        pred_images = (noisy_images - noise_rates * pred_noises) / signal_rates
        return pred_noises, pred_images

    def reverse_diffusion(self, initial_noise, diffusion_steps):
        num_images = initial_noise.shape[0]
        step_size = 1.0 / diffusion_steps
        next_noisy_images = initial_noise
        for step in range(diffusion_steps):
            noisy_images = next_noisy_images
            diffusion_times = ops.ones((num_images, 1, 1, 1)) - step * step_size
            rates = self.diffusion_schedule(diffusion_times)
            pred_noises, pred_images = self.denoise(noisy_images, *rates, training=False)
            noise_rates, signal_rates = self.diffusion_schedule(diffusion_times - step_size)
            next_noisy_images = signal_rates * pred_images + noise_rates * pred_noises
        return pred_images

    def generate(self, num_images, diffusion_steps):
        initial_noise = keras.random.normal((num_images, image_size, image_size, 1))
        return self.denormalize(self.reverse_diffusion(initial_noise, diffusion_steps))

    def noisy(self, images):
        noises = keras.random.normal((batch_size, image_size, image_size, 1))
        diffusion_times = keras.random.uniform((batch_size, 1, 1, 1), minval=0.0, maxval=1.0)
        noise_rates, signal_rates = self.diffusion_schedule(diffusion_times)
        return noises, noise_rates, signal_rates, signal_rates * images + noise_rates * noises

    def train_step(self, images):
        images = self.normalizer(images, training=True)
        noises, noise_rates, signal_rates, noisy_images = self.noisy(images)
        with tf.GradientTape() as tape:
            pred_noises, pred_images = self.denoise(noisy_images, noise_rates, signal_rates, training=True)
            noise_loss = self.loss(noises, pred_noises)
            image_loss = self.loss(images, pred_images)
        gradients = tape.gradient(noise_loss, self.network.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_weights, strict=True))
        self.noise_loss_tracker.update_state(noise_loss)
        self.image_loss_tracker.update_state(image_loss)
        for weight, ema_weight in zip(self.network.weights, self.ema_network.weights, strict=True):
            ema_weight.assign(ema * ema_weight + (1 - ema) * weight)
        return {m.name: m.result() for m in self.metrics[:-1]}

    def test_step(self, images):
        images = self.normalizer(images, training=False)
        noises, noise_rates, signal_rates, noisy_images = self.noisy(images)
        pred_noises, pred_images = self.denoise(noisy_images, noise_rates, signal_rates, training=False)
        self.image_loss_tracker.update_state(self.loss(images, pred_images))
        self.noise_loss_tracker.update_state(self.loss(noises, pred_noises))
        generated_images = self.generate(batch_size, kid_diffusion_steps)
        self.kid.update_state(self.denormalize(images), generated_images)
        return {m.name: m.result() for m in self.metrics}

    def plot_images(self, epoch=None, logs=None, num_rows=2, num_cols=3):
        generated_images = self.generate(num_rows * num_cols, plot_diffusion_steps)
        np.save("generated.npy", generated_images)


model = DiffusionModel()
model.compile(
    optimizer=keras.optimizers.AdamW(learning_rate=learning_rate, weight_decay=weight_decay),
    loss=keras.losses.mean_absolute_error,
)
model.normalizer.adapt(train_dataset)
checkpoint_callback = outlast.ModelCheckpoint(
    "diffusion_model.weights.h5", save_weights_only=True, monitor="val_kid", mode="min", save_best_only=True
)
run = outlast.Run(
    "runs/ddim", [keras.callbacks.LambdaCallback(on_epoch_end=model.plot_images), checkpoint_callback]
)
model.fit(run.data(train_dataset), epochs=num_epochs, validation_data=run.data(val_dataset), callbacks=[run])

model.load_weights(run.best.path)
model.plot_images()
