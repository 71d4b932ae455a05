"""The schema of a pretrain recipe: every knob, its unit and its default, in one place."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Thaw = Annotated[float, Field(gt=0, lt=1)] | None


class Section(BaseModel):
    """A part of a recipe; keys it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSection(Section):
    """What is read from the dataset and how it is batched."""

    batch_size: Annotated[int, Field(ge=2)] = Field(
        64, description="films a step, of all processes together; the others are negatives"
    )
    films: Literal["pairs", "bag"] = Field(
        "pairs",
        description="several films of a study: pairs, each with the report, or one bag of all their regions; "
        "batch_size then counts studies",
    )
    max_films: Positive | None = Field(
        None, description="films of a bag at most, drawn anew each epoch; null for all of the study"
    )
    chunk: Annotated[int, Field(ge=0)] = Field(
        0,
        description="films that an encoder holds at once in each process, for large batches; 0 for all",
    )
    max_sentences: Positive = Field(
        12, description="sentences a report; longer reports are sampled anew each epoch"
    )
    workers: Annotated[int, Field(ge=0)] = Field(1, description="processes that read films; 0 reads in line")
    views: tuple[str, ...] = Field((), description="views to train on (PA, AP, ...); empty for all")


class ImageSection(Section):
    """The image tower and what it is shown."""

    encoder: str = Field(
        "small",
        description="small, a torchvision network such as resnet50 or vit_b_16, or a Hugging Face model by "
        "folder or hub name (OWNER/NAME)",
    )
    widths: tuple[Positive, ...] = Field(
        (32, 64, 128, 192), min_length=1, description="channels of each stage of small"
    )
    blocks: Positive = Field(1, description="residual blocks in each stage of small")
    layer: str = Field(
        "",
        coerce_numbers_to_str=True,
        description="layer to cut at: a name such as layer3, or the number of a transformer's block or of a "
        "Hugging Face model's stage, from 0; empty for the last",
    )
    weights: str = Field(
        "auto",
        description="auto (a Hugging Face model's own, none for others), none, torchvision, a model on the "
        "hub (OWNER/NAME), a .safetensors / .pth file or a folder with one, or a checkpoint of mmil",
    )
    freeze: str = Field(
        "none", description="none, all, or the lowest block that learns, such as layer3; those below do not"
    )
    thaw: Thaw = Field(
        None, description="share of the steps after which what is frozen learns; null for never"
    )
    size: Annotated[int, Field(ge=32, le=4096)] = Field(
        224, description="side of the square shown to the encoder, pixels"
    )
    fit: Literal["pad", "crop"] = Field("pad", description="pad shows the whole film; crop fills the square")
    mean: float | None = Field(
        None, description="subtracted from pixels in [0, 1]; null for the weights' own, else 0.5"
    )
    std: Annotated[float, Field(gt=0)] | None = Field(
        None, description="divides pixels after the mean; null for the weights' own, else 0.25"
    )


class TextSection(Section):
    """The text tower and its tokenizer."""

    encoder: str = Field("small", description="small, or a Hugging Face encoder by name or folder")
    unit: Literal["sentence", "report"] = Field(
        "sentence", description="what is one text: each sentence, or the whole report"
    )
    pool: Literal["mean", "first"] = Field(
        "mean", description="what stands for a text: the mean of its tokens, or the first one, [CLS]"
    )
    freeze: str = Field(
        "none", description="none, all, or the lowest block that learns, such as encoder.layer.8"
    )
    thaw: Thaw = Field(
        None, description="share of the steps after which what is frozen learns; null for never"
    )
    width: Positive = Field(192, description="model dimension of small")
    layers: Positive = Field(2, description="transformer blocks of small")
    heads: Positive = Field(4, description="attention heads of small")
    dropout: Share = Field(0.1, description="probability in small")
    max_tokens: Annotated[int, Field(ge=4)] = Field(
        48, description="longest sentence, in tokens; longer ones are cut"
    )
    vocabulary_size: Annotated[int, Field(ge=50)] = Field(
        4000, description="WordPiece tokens learned from the reports"
    )
    vocabulary: str = Field("", description="a WordPiece vocab.txt to use instead of learning one")


class ProjectionSection(Section):
    """The joint embedding."""

    dim: Positive = Field(128, description="dimension of the joint embedding")
    hidden_dim: Annotated[int, Field(ge=0)] = Field(
        0, description="hidden layer of each projection; 0 for a linear map"
    )


class ScoreSection(Section):
    """The score between a bag of regions and a bag of sentences, and its objective."""

    expression: str = Field(
        "lse+nl", description="term + term, or a preset (`mmil scores`); `mmil pretrain --score` sets it"
    )
    critic: str = Field("cosine", description="instance score: cosine, bilinear or mlp(hidden=256)")
    sentences: str = Field("mean", description="pools sentences: mean, max, lse(gamma=5) or one a step")
    objective: str = Field("infonce", description="of each term that names none: infonce, dv, sigmoid, ...")
    temperature: float | str = Field(
        0.07, description="of each term that names none; it divides; a number, learned(...) or auto"
    )
    learn_temperature: bool = Field(True, description="train each logit scale from its number, at most 100")
    same_group: Literal["exclude", "positive"] = Field(
        "exclude",
        description="same-study and same-text pairs: left out, or further positives; never negatives",
    )


class AugmentSection(Section):
    """Random changes of the films while training; sides matter, so a flip turns the words too."""

    rotate: Annotated[float, Field(ge=0, le=180)] = Field(8.0, description="rotation, degrees either way")
    shift: Share = Field(0.05, description="shift, share of the side either way")
    scale: Share = Field(0.1, description="zoom, share either way")
    crop: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.0, description="most of the side that is cut away, share; the rest lies anywhere in the film"
    )
    flip: Share = Field(
        0.0, description="share of studies turned left for right, the words left and right with them"
    )
    brightness: Share = Field(0.15, description="added to pixels in [0, 1], either way")
    contrast: Share = Field(0.2, description="contrast factor, share either way")
    blur: Annotated[float, Field(ge=0, le=0.1)] = Field(
        0.0, description="largest standard deviation of a Gaussian blur, share of the side"
    )
    noise: Share = Field(0.0, description="largest standard deviation of normal noise, on pixels in [0, 1]")
    erase: Share = Field(0.0, description="side of a square greyed out in half of the films, share")


class OptimSection(Section):
    """How long and how fast."""

    epochs: Positive = Field(30, description="passes over the training films")
    optimiser: Literal["adamw", "muon"] = Field(
        "adamw", description="adamw, or muon for matrices and adamw for the rest"
    )
    lr: Annotated[float, Field(gt=0)] = Field(1e-3, description="peak learning rate")
    text_lr: Annotated[float, Field(gt=0)] | None = Field(
        None, description="peak of the text tower; null for lr"
    )
    image_lr: Annotated[float, Field(gt=0)] | None = Field(
        None, description="peak of the image tower; null for lr"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="learning rate of each block of a tower over that of the block above it"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(
        0.05, description="decoupled, on weights of two axes or more"
    )
    warmup: Share = Field(
        0.05, description="share of the steps with rising learning rate; then a cosine to 0"
    )
    grad_clip: Annotated[float, Field(ge=0)] = Field(
        1.0, description="largest norm of the gradient; 0 for no limit"
    )


class RunSection(Section):
    """Saving, validating and the machine."""

    start: str = Field("", description="run or checkpoint whose towers and tokenizer this run starts from")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="everything random follows from it")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the encoders; auto is bf16 where the processor has it"
    )
    shard: bool = Field(
        False,
        description="with torchrun: encoders in shares over the processes (FSDP2), for models beyond one GPU",
    )
    log_every: Positive = Field(10, description="steps between lines of the log")
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        (), description="where the numbers of the log go too: tensorboard, wandb; both are extras"
    )
    save_every: Positive = Field(200, description="steps between saved states to resume from")
    save_minutes: Annotated[float, Field(ge=0)] = Field(
        10.0, description="minutes between saved states too; 0 for steps alone"
    )
    validate_every: Positive = Field(5, description="epochs between validations; the last one always")
    validate_films: Positive = Field(1000, description="films of the validate split to use at most")
    keep: Literal["last", "best"] = Field(
        "last", description="which checkpoint stays: of the last validation, or of the best by run.metric"
    )
    metric: Literal[
        "loss",
        "image_to_text_r@1",
        "image_to_text_r@5",
        "text_to_image_r@1",
        "text_to_image_r@5",
        "zero_shot_auroc",
    ] = Field("loss", description="of the validations, for run.keep and run.patience")
    patience: Annotated[int, Field(ge=0)] = Field(
        0, description="validations without a better one after which the run ends; 0 for never"
    )


class Recipe(Section):
    """Everything that decides a pretrain run, but for the dataset."""

    data: DataSection = DataSection()
    image: ImageSection = ImageSection()
    text: TextSection = TextSection()
    projection: ProjectionSection = ProjectionSection()
    score: ScoreSection = ScoreSection()
    augment: AugmentSection = AugmentSection()
    optim: OptimSection = OptimSection()
    run: RunSection = RunSection()
