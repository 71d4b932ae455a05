"""Tiny archives in the layouts that are really handed out, one a source; every text in them is made up."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, generate_uid
from source_files import table_rows, write_csv, write_dicom, write_mimic, write_png

CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other",
    "Fracture", "Support Devices",
)  # fmt: skip


def write_parquet(root: Path) -> Path:
    rows = table_rows(4)
    for number, row in enumerate(rows):
        write_png(root / str(row["image"]), number)
        row["Edema"] = None if row["Edema"] == "" else row["Edema"]
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "films.parquet")
    return root / "films.parquet"


def openi_xml(
    number: int, images: Iterable[str], *, findings: str = "No effusion.", major: str = "normal"
) -> str:
    figures = "".join(f'<parentImage id="{image}"><caption>Chest</caption></parentImage>' for image in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{number}"/><MedlineCitation><Article>'
        '<Abstract><AbstractText Label="COMPARISON">None.</AbstractText>'
        '<AbstractText Label="INDICATION">Cough &amp; fever.</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">Film {number} is read.</AbstractText></Abstract></Article>'
        f"</MedlineCitation><MeSH><major>{major}</major></MeSH>{figures}</eCitation>"
    )


def write_openi_xml(root: Path, *, suffix: str = ".png") -> Path:
    """Reports 1 (two films), 2 (one) and 10 (none), PNGs in one folder or DICOMs in one a report."""
    reports = root / "ecgen-radiology"
    reports.mkdir(parents=True)
    images = {1: ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"], 2: ["CXR2_IM-0652-1001"], 10: []}
    majors = {1: "normal", 2: "Pleural Effusion/left/small", 10: "No Indexing"}
    for number, names in images.items():
        text = openi_xml(number, names, major=majors[number])
        (reports / f"{number}.xml").write_text(text, encoding="utf-8")
        for place, name in enumerate(names):
            if suffix == ".png":
                write_png(root / "NLMCXR_png" / f"{name}.png", number + place)
            else:
                file = f"{name.partition('_')[2]}.dcm"
                write_dicom(root / "NLMCXR_dcm" / str(number) / file, number + place)
    return root


def write_openi_csv(root: Path) -> Path:
    sections = {"image": "Xray", "indication": "Cough.", "comparison": "None."}
    write_csv(
        root / "indiana_reports.csv",
        [
            {"uid": 1, "MeSH": "normal", "Problems": "normal", **sections,
             "findings": "The heart is normal. No effusion.", "impression": "Normal."},
            {"uid": 2, "MeSH": "Cardiomegaly/mild", "Problems": "Cardiomegaly;Opacity", **sections,
             "findings": "", "impression": "Mild cardiomegaly."},
            {"uid": 3, "MeSH": "No Indexing", "Problems": "No Indexing", **sections,
             "findings": "", "impression": ""},
        ],
    )  # fmt: skip
    films = [(1, "1_IM-0001-4001", "Frontal"), (1, "1_IM-0001-3001", "Lateral"),
             (2, "2_IM-0652-1001", "Frontal"), (3, "3_IM-1384-1001", "Frontal")]  # fmt: skip
    rows = [{"uid": uid, "filename": f"{name}.dcm.png", "projection": view} for uid, name, view in films]
    write_csv(root / "indiana_projections.csv", rows)
    for number, row in enumerate(rows):
        write_png(root / "images/images_normalized" / str(row["filename"]), number)
    return root


_CHEXPERT = (
    ("train", "patient00001", "study1", "view1_frontal"),
    ("train", "patient00001", "study1", "view2_lateral"),
    ("train", "patient00002", "study1", "view1_frontal"),
    ("valid", "patient64541", "study1", "view1_frontal"),
)


def write_chexpert(root: Path) -> Path:
    """CheXpert as it was first handed out, with no report."""
    release = "CheXpert-v1.0-small"
    for split in ("train", "valid"):
        rows = []
        for number, parts in enumerate(part for part in _CHEXPERT if part[0] == split):
            lateral = "lateral" in parts[-1]
            labels = dict.fromkeys(CHEXPERT_LABELS, "") | {
                "Edema": "-1.0",
                "Cardiomegaly": "1.0",
                "Fracture": "0.0",
            }
            rows.append({"Path": "/".join((release, *parts)) + ".jpg", "Sex": "Female", "Age": 60 + number,
                         "Frontal/Lateral": "Lateral" if lateral else "Frontal",
                         "AP/PA": "" if lateral else "AP", **labels})  # fmt: skip
        write_csv(root / f"{split}.csv", rows)
    for number, parts in enumerate(_CHEXPERT):
        write_png(root.joinpath(*parts[:-1], f"{parts[-1]}.jpg"), number)
    return root


def write_chexpert_plus(root: Path) -> Path:
    """CheXpert with the table of CheXpert Plus, whose own films are PNG."""
    write_chexpert(root)
    large = ("The heart is large. No edema.", "Cardiomegaly.", "")
    texts = [large, large, ("", "", "Lines unchanged. Clear lungs."), ("", "Clear lungs.", "")]
    rows = []
    for parts, (findings, impression, narrative) in zip(_CHEXPERT, texts, strict=True):
        lateral = "lateral" in parts[-1]
        rows.append({
            "path_to_image": "/".join(parts) + ".jpg", "frontal_lateral": "Lateral" if lateral else "Frontal",
            "ap_pa": "" if lateral else "PA", "deid_patient_id": parts[1], "patient_report_date_order": 1,
            "report": "ACCESSION NUMBER: 4711", "section_narrative": narrative,
            "section_clinical_history": "Dyspnea.", "section_history": "", "section_comparison": "None.",
            "section_technique": "", "section_findings": findings, "section_impression": impression,
            "section_accession_number": "4711", "split": parts[0],
        })  # fmt: skip
    write_csv(root / "df_chexpert_plus_240401.csv", rows)
    return root


def write_nih(root: Path) -> Path:
    films = [("00000001_000.png", "Cardiomegaly|Effusion", 0, 1), ("00000001_001.png", "No Finding", 1, 1),
             ("00000002_000.png", "No Finding", 0, 2), ("00000003_000.png", "Hernia", 0, 3)]  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    header = ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
              "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],")  # fmt: skip
    lines = [
        f"{name},{labels},{visit},{patient},058Y,M,PA,2682,2749,0.143,0.143,"
        for name, labels, visit, patient in films
    ]
    (root / "Data_Entry_2017.csv").write_text("\n".join([header, *lines]) + "\n")
    (root / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n00000002_000.png\n")
    (root / "test_list.txt").write_text("00000003_000.png\n")
    for number, (name, *_) in enumerate(films):
        write_png(root / f"images_{1 + number % 2:03d}/images" / name, number)
    return root


def write_rsna(root: Path) -> Path:
    films = [
        ("aa-01", 1, "Lung Opacity"),
        ("bb-02", 0, "Normal"),
        ("cc-03", 0, "No Lung Opacity / Not Normal"),
    ]
    rows = [
        {"patientId": name, "x": "", "y": "", "width": "", "height": "", "Target": target}
        for name, target, _ in films
    ]
    rows[0] |= {"x": 5.0, "y": 5.0, "width": 9.0, "height": 9.0}
    rows.insert(1, rows[0] | {"x": 20.0})
    write_csv(root / "stage_2_train_labels.csv", rows)
    classes = [{"patientId": name, "class": kind} for name, _, kind in films]
    write_csv(root / "stage_2_detailed_class_info.csv", [classes[0], *classes])
    origins = [{"subset_img_id": "aa-01", "img_id": "00000013_005.png"},
               {"subset_img_id": "bb-02", "img_id": "00000013_007.png"},
               {"subset_img_id": "cc-03", "img_id": "00000014_000.png"}]  # fmt: skip
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(origins))
    for number, (name, *_) in enumerate(films):
        write_dicom(root / "stage_2_train_images" / f"{name}.dcm", number)
    return root


def write_vindr(root: Path) -> Path:
    """PhysioNet's layout: three radiologists a training film, one consensus a test film."""
    said = {"f1": [(1, 0), (1, 0), (0, 0)], "f2": [(0, 1), (0, 0), (0, 0)], "f3": [(0, 0)] * 3}
    rows = [
        {"image_id": film, "rad_ID": f"R{number}", "Cardiomegaly": first, "Nodule/Mass": second}
        for film, votes in said.items() for number, (first, second) in enumerate(votes)
    ]  # fmt: skip
    write_csv(root / "annotations/image_labels_train.csv", rows)
    write_csv(
        root / "annotations/image_labels_test.csv", [{"image_id": "t1", "Cardiomegaly": 1, "Nodule/Mass": 0}]
    )
    for number, name in enumerate(("train/f1", "train/f2", "train/f3", "test/t1")):
        write_dicom(root / f"{name}.dicom", number)
    return root


def write_vindr_kaggle(root: Path) -> Path:
    said = [("f1", "R1", "Cardiomegaly"), ("f1", "R1", "Cardiomegaly"), ("f1", "R2", "Cardiomegaly"),
            ("f1", "R3", "No finding"), ("f2", "R1", "No finding"), ("f2", "R2", "Cardiomegaly"),
            ("f2", "R3", "No finding")]  # fmt: skip
    rows = [{"image_id": film, "class_name": name, "class_id": 3, "rad_id": reader,
             "x_min": "", "y_min": "", "x_max": "", "y_max": ""} for film, reader, name in said]  # fmt: skip
    write_csv(root / "train.csv", rows)
    for number, name in enumerate(("f1", "f2")):
        write_dicom(root / f"train/{name}.dicom", number)
    return root


def write_padchest(root: Path) -> Path:
    films = [("p1_s1_a.png", "s1", "p1", "PA", "corazon normal . sin derram pleural .", "['normal']"),
             ("p1_s1_b.png", "s1", "p1", "L", "corazon normal . sin derram pleural .", "['normal']"),
             ("p2_s2_a.png", "s2", "p2", "AP_horizontal", "derram pleural .",
              "['pleural effusion', ' nodule']"),
             ("p3_s3_a.png", "s3", "p3", "PA", "rotad .", "['exclude']")]  # fmt: skip
    rows = [{"": n, "ImageID": image, "ImageDir": n % 2, "StudyDate_DICOM": 20140915, "StudyID": study,
             "PatientID": patient, "PatientBirth": 1930, "Projection": view, "ReportID": n,
             "Report": report, "Labels": labels}
            for n, (image, study, patient, view, report, labels) in enumerate(films)]  # fmt: skip
    write_csv(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", rows)
    for row in rows:
        write_png(root / str(row["ImageDir"]) / str(row["ImageID"]), int(str(row[""])))
    return root


def write_roco(root: Path) -> Path:
    """ROCOv2: one table and one folder a split."""
    for number, split in enumerate(("train", "valid", "test")):
        name = f"ROCOv2_2023_{split}_000001"
        write_csv(root / f"{split}_captions.csv", [{"ID": name, "Caption": f"Chest film, number {number}."}])
        write_png(root / split / f"{name}.jpg", number)
    return root


def write_roco_first(root: Path) -> Path:
    """ROCO: one folder a split, tables with the names of the files."""
    for number, (split, table) in enumerate((("train", "train"), ("validation", "val"), ("test", "test"))):
        folder = root / "data" / split / "radiology"
        name = f"PMC{number}_fig-g1.jpg"
        rows = [{"id": f"ROCO_{number}", "name": name, "caption": " Axial CT, with a cyst\n"}]
        write_csv(folder / f"{table}data.csv", rows)
        write_png(folder / "images" / name, number)
    return root


def structured_report(path: Path, items: Iterable[Dataset], **elements: object) -> Path:
    """A Basic Text SR with these content items."""
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = BasicTextSRStorage, generate_uid(), "SR"
    report.SpecificCharacterSet = "ISO_IR 192"
    report.ValueType, report.ContentSequence = "CONTAINER", list(items)
    for keyword, value in elements.items():
        setattr(report, keyword, value)
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save_as(path, enforce_file_format=True)
    return path


def concept(value: str, meaning: str, scheme: str = "DCM") -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return [code]


def text_item(code: str, meaning: str, text: str, **elements: object) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = concept(code, meaning)
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def container(code: str, meaning: str, items: Iterable[Dataset]) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ContentSequence = "CONTAINS", "CONTAINER", list(items)
    item.ConceptNameCodeSequence = concept(code, meaning)
    return item


def write_dicom_folder(root: Path) -> Path:
    """Three patients: reports as a text beside the films, a text named by accession number, and an SR."""

    def film(place: str, number: int, study: str, patient: str, date: str, accession: str = "") -> None:
        write_dicom(root / place, number, StudyInstanceUID=f"1.2.9.{study}", PatientID=patient,
                    StudyDate=date, AccessionNumber=accession, PatientName="Lovelace^Ada",
                    SOPInstanceUID=f"1.2.8.{number}",
                    PatientBirthDate="18151210")  # fmt: skip

    film("a/visit1/IM1.dcm", 1, "11", "MRN0815", "20200102")
    film("a/visit1/IM2", 2, "11", "MRN0815", "20200102")
    film("a/visit2/IM3.dcm", 3, "12", "MRN0815", "20210102", "ACC4711")
    film("b/IM4.dcm", 4, "13", "MRN0816", "20200303")
    (root / "a/visit1/report.txt").write_text("FINDINGS: A small effusion. IMPRESSION: Effusion.\n")
    (root / "texts").mkdir()
    (root / "texts/ACC4711.txt").write_text("FINDINGS: The effusion is gone.\n")
    structured_report(
        root / "b/SR1.dcm",
        [container("121070", "Findings", [text_item("121071", "Finding", "No pneumothorax.")])],
        StudyInstanceUID="1.2.9.13", PatientID="MRN0816", PatientName="Lovelace^Ada",
    )  # fmt: skip
    return root


ARCHIVES: dict[str, tuple[Callable[[Path], Path], ...]] = {
    "table": (write_parquet,),
    "mimic": (write_mimic,),
    "openi": (write_openi_xml, write_openi_csv),
    "chexpert": (write_chexpert_plus,),
    "nih": (write_nih,),
    "padchest": (write_padchest,),
    "rsna": (write_rsna,),
    "vindr": (write_vindr, write_vindr_kaggle),
    "roco": (write_roco, write_roco_first),
    "dicoms": (write_dicom_folder,),
}
"""Source -> its archives, each with at least one row for a dataset."""
